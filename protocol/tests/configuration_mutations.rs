//! Odd input is answered, never by a panic.

#[path = "../../tests/fuzz/checks/yaml.rs"]
mod yaml;

const EXAMPLE: &str = include_str!("../../quayside-config.yaml");
const MISTAKEN: &str = include_str!("data/ten-mistakes.yml");

/// Numbers that look random and are the same in each run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }
}

fn read(text: &str) {
    yaml::check(text.as_bytes());
}

#[test]
fn changed_lines_never_panic() {
    let replacements = [
        "",
        "-",
        "- - -",
        "? x",
        ": y",
        "[",
        "]",
        "{",
        "}",
        "*a",
        "&a",
        "<<: *a",
        "!!int x",
        "!x",
        "|",
        ">-",
        "'",
        "\"",
        "~",
        "${X}",
        "${X:-",
        "\t",
        "#",
        "---",
        "...",
        "%YAML 1.2",
        "a: b: c",
        "0x",
        ".nan",
        "\u{feff}",
        "é: ü",
        "@",
        "`",
    ];
    let mut numbers = Numbers(0x2545_F491_4F6C_DD1D);
    for source in [EXAMPLE, MISTAKEN] {
        let lines: Vec<&str> = source.lines().collect();
        for _ in 0..600 {
            let mut changed: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            let at = numbers.below(changed.len());
            let with = replacements[numbers.below(replacements.len())];
            let indent = changed[at].len() - changed[at].trim_start().len();
            match numbers.below(5) {
                0 => changed[at] = format!("{}{with}", " ".repeat(indent)),
                1 => changed.insert(at, format!("{}{with}", " ".repeat(indent))),
                2 => drop(changed.remove(at)),
                3 => {
                    let value = changed[at].find(": ").map_or(changed[at].len(), |colon| colon + 2);
                    changed[at].replace_range(value.., with);
                }
                _ => {
                    let other = numbers.below(changed.len());
                    changed.swap(at, other);
                }
            }
            read(&changed.join("\n"));
        }
    }
}

#[test]
fn changed_and_cut_characters_never_panic() {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let odd: Vec<char> = "\0\r\n\t :-?[]{},&*!|>'\"%@`#$~é\u{feff}\u{2028}".chars().collect();
    let characters: Vec<char> = EXAMPLE.chars().collect();
    for _ in 0..600 {
        let mut changed = characters.clone();
        for _ in 0..=numbers.below(3) {
            let at = numbers.below(changed.len());
            match numbers.below(3) {
                0 => changed[at] = odd[numbers.below(odd.len())],
                1 => changed.insert(at, odd[numbers.below(odd.len())]),
                _ => changed.truncate(at),
            }
        }
        read(&changed.into_iter().collect::<String>());
    }
}

#[test]
fn every_value_in_place_of_every_other_never_panics() {
    let values = ["1", "-1", "1.5", "text", "''", "[]", "{}", "[1]", "{a: 1}", "~", "yes", "99999999999999999999"];
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some((key, _)) = line.split_once(": ") else { continue };
        for value in values {
            let replaced = format!("{key}: {value}");
            let mut changed = lines.clone();
            changed[at] = &replaced;
            read(&changed.join("\n"));
        }
    }
}
