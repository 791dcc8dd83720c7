// An issuer of OpenID Connect for tests: zitadel's library and the storage of its example server, which itself would listen on
// every address. Access tokens are JSON Web Tokens here, groups are a claim of theirs, and keys are rotated when asked for.
package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Groups of the example server's users.
var groups = map[string][]string{"id1": {"water"}, "id2": {"air"}}

type key struct {
	id      string
	private *rsa.PrivateKey
}

func newKey() key {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key{uuid.NewString(), private}
}

type signing struct{ key }

func (s signing) ID() string                                  { return s.id }
func (s signing) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (s signing) Key() any                                    { return s.private }

type public struct{ key }

func (p public) ID() string                         { return p.id }
func (p public) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (p public) Use() string                        { return "sig" }
func (p public) Key() any                           { return &p.private.PublicKey }

type store struct {
	*storage.Storage
	lock sync.Mutex
	key  key
}

func (s *store) current() key {
	s.lock.Lock()
	defer s.lock.Unlock()
	return s.key
}

func (s *store) rotate(http.ResponseWriter, *http.Request) {
	s.lock.Lock()
	defer s.lock.Unlock()
	s.key = newKey()
}

func (s *store) SigningKey(context.Context) (op.SigningKey, error) { return signing{s.current()}, nil }
func (s *store) KeySet(context.Context) ([]op.Key, error)          { return []op.Key{public{s.current()}}, nil }

type client struct{ op.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	found, err := s.Storage.GetClientByClientID(ctx, id)
	return client{found}, err
}

// Tokens for the client "late" have expired when they are made.
func (s *store) CreateAccessToken(ctx context.Context, request op.TokenRequest) (string, time.Time, error) {
	id, expires, err := s.Storage.CreateAccessToken(ctx, request)
	if audience := request.GetAudience(); len(audience) == 1 && audience[0] == "late" {
		expires = time.Now().Add(-time.Hour)
	}
	return id, expires, err
}

func (s *store) GetPrivateClaimsFromScopes(_ context.Context, user, _ string, _ []string) (map[string]any, error) {
	return map[string]any{"groups": groups[user]}, nil
}

func main() {
	address := os.Args[1]
	issuer := fmt.Sprintf("http://%s/", address)
	redirects := strings.Split(os.Getenv("REDIRECT_URI"), ",")
	for _, id := range []string{"quayside", "other", "late"} {
		storage.RegisterClients(storage.NativeClient(id, redirects...))
	}
	store := &store{Storage: storage.NewStorage(storage.NewUserStore(issuer)), key: newKey()}
	router := exampleop.SetupServer(issuer, store, slog.New(slog.NewTextHandler(os.Stderr, nil)), false)
	router.Post("/rotate", store.rotate)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		panic(err)
	}
	panic(http.Serve(listener, router))
}
