//! The keys and certificates of a control plane: one authority, and what it signs.

use std::{
    fs,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes all of them anew.
    pub(super) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let this = Self { folder: folder.to_path_buf() };

        let mut params = named("quayside-tests", None);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        fs::write(this.authority(), params.self_signed(&key)?.pem())?;
        let authority = Issuer::new(params, key);

        // The service address of the API server is the first of the range given to it.
        this.sign("apiserver", server("kube-apiserver", &["kubernetes.default.svc", "10.0.0.1"])?, &authority)?;
        this.sign("kubelet", server("kubelet", &[])?, &authority)?;
        this.sign("kubelet-client", client("kube-apiserver", "system:masters"), &authority)?;
        let accounts = KeyPair::generate()?;
        let (public_file, key_file) = this.service_accounts();
        fs::write(public_file, accounts.public_key_pem())?;
        private(&key_file, &accounts.serialize_pem())?;
        Ok(this)
    }

    /// Those that were made in this folder before.
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The authority's certificate.
    pub(super) fn authority(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// Certificate and key of the API server.
    pub(super) fn apiserver(&self) -> (PathBuf, PathBuf) {
        self.pair("apiserver")
    }

    /// Certificate and key of the nodes, simulated or real: they listen on 127.0.0.1 too.
    pub(super) fn node(&self) -> (PathBuf, PathBuf) {
        self.pair("kubelet")
    }

    /// Certificate and key with which the API server asks nodes for logs.
    pub(super) fn node_client(&self) -> (PathBuf, PathBuf) {
        self.pair("kubelet-client")
    }

    /// The public and the private key of service account tokens.
    pub(super) fn service_accounts(&self) -> (PathBuf, PathBuf) {
        (self.folder.join("service-accounts.pub"), self.folder.join("service-accounts.key"))
    }

    fn pair(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.folder.join(format!("{name}.crt")), self.folder.join(format!("{name}.key")))
    }

    fn sign(&self, name: &str, params: CertificateParams, authority: &Issuer<'_, KeyPair>) -> Result<()> {
        let key = KeyPair::generate()?;
        let (certificate_file, key_file) = self.pair(name);
        fs::write(certificate_file, params.signed_by(&key, authority)?.pem())?;
        private(&key_file, &key.serialize_pem())
    }
}

fn server(name: &str, more: &[&str]) -> Result<CertificateParams> {
    let names = ["127.0.0.1", "localhost"].iter().chain(more).map(|name| (*name).to_owned());
    let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn client(user: &str, group: &str) -> CertificateParams {
    let mut params = named(user, Some(group));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn named(user: &str, group: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    params
}

/// Writes a file that only its owner may read.
pub(super) fn private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
