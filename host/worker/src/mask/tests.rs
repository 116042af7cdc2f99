//! The mask against a naive one that sees the whole text.

use std::sync::Arc;

use proptest::prelude::*;

use super::{BEGINNING, Mask, Masker, forms};

/// Every byte that any form or the beginning of a long one covers, run by run. Knows no line breaks within forms.
fn naive(secrets: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut covered = vec![false; text.len()];
    for form in secrets.iter().filter(|it| it.len() >= 4).flat_map(|secret| forms::of(secret)) {
        let length = form.bytes.len();
        for start in 0..(text.len() + 1).saturating_sub(length) {
            if text[start..start + length] == form.bytes {
                covered[start..start + length].fill(true);
            }
        }
        for start in 0..text.len() {
            let same = text[start..].iter().zip(&form.bytes).take_while(|(a, b)| a == b).count();
            if same >= BEGINNING {
                covered[start..start + same].fill(true);
            }
        }
    }
    let mut out = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        match (covered[at], at > 0 && covered[at - 1]) {
            (false, _) => out.push(*byte),
            (true, false) => out.extend(b"***"),
            (true, true) => {}
        }
    }
    out
}

fn mask(secrets: &[Vec<u8>]) -> Arc<Mask> {
    Arc::new(Mask::new(secrets.iter().map(|secret| ("S", secret.as_slice()))))
}

fn streamed(mask: &Arc<Mask>, text: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut masker = Masker::new(Arc::clone(mask));
    let (mut out, mut rest) = (Vec::new(), text);
    for cut in cuts {
        let (piece, more) = rest.split_at((*cut).min(rest.len()));
        masker.push(piece, &mut out);
        rest = more;
    }
    masker.push(rest, &mut out);
    masker.finish(&mut out);
    out
}

/// Secrets over few letters, so that they overlap, repeat and begin each other.
fn secret() -> impl Strategy<Value = Vec<u8>> {
    let letters = prop::sample::select(b"aab\"\\% '\xc3\xa9&".to_vec());
    prop_oneof![
        4 => prop::collection::vec(letters, 4..9),
        1 => prop::collection::vec(any::<u8>(), 4..40),
    ]
}

/// Pieces of forms, whole forms, and what is neither.
fn text(secrets: Vec<Vec<u8>>) -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    let forms: Vec<Vec<u8>> =
        secrets.iter().flat_map(|it| forms::of(it)).map(|form| form.bytes).collect();
    let piece = (prop::sample::select(forms), any::<prop::sample::Index>(), 0..4_u8);
    let piece = piece.prop_map(|(form, at, how)| match how {
        0 | 1 => form,
        2 => form[..at.index(form.len())].to_vec(),
        _ => form[at.index(form.len())..].to_vec(),
    });
    let other = prop::collection::vec(prop::sample::select(b"ab\"\\%\x00 ".to_vec()), 0..5);
    let pieces = prop::collection::vec(prop_oneof![piece, other], 0..12);
    pieces.prop_map(move |pieces| {
        let text = pieces.concat().into_iter().filter(|byte| !b"\r\n".contains(byte)).collect();
        (secrets.clone(), text)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_stream_in_any_pieces_is_masked_as_the_whole(
        (secrets, text) in prop::collection::vec(secret(), 1..4).prop_flat_map(text),
        cuts in prop::collection::vec(0..9_usize, 0..60),
    ) {
        let secrets: Vec<_> = secrets.into_iter()
            .map(|it| it.into_iter().map(|b| if b == b'\n' || b == b'\r' { b'x' } else { b }).collect::<Vec<u8>>())
            .collect();
        let mask = mask(&secrets);
        let expected = naive(&secrets, &text);
        prop_assert_eq!(&streamed(&mask, &text, &cuts), &expected);
        prop_assert_eq!(mask.bytes(&text).into_owned(), expected);
    }

    #[test]
    fn a_secret_inside_of_another_is_hidden_where_the_other_breaks_off(
        long in prop::collection::vec(any::<u8>(), 8..15),
        from in 0..4_usize,
        upto in 8..15_usize,
        end in any::<u8>(),
    ) {
        let inner = long[from..upto.min(long.len())].to_vec();
        let mut text = long[..upto.min(long.len())].to_vec();
        text.push(end);
        let secrets = [long, inner];
        let expected = naive(&secrets, &text);
        prop_assert_eq!(streamed(&mask(&secrets), &text, &[3, 1, 2]), expected);
    }

    #[test]
    fn pieces_make_no_difference_across_lines_either(
        secret in prop::collection::vec(any::<u8>(), 4..60),
        width in 1..70_usize,
        before in prop::collection::vec(any::<u8>(), 0..4),
        cuts in prop::collection::vec(0..9_usize, 0..60),
    ) {
        let mask = mask(std::slice::from_ref(&secret));
        let mut text = before;
        for form in forms::of(&secret) {
            for line in form.bytes.chunks(width) {
                text.extend(line);
                text.push(b'\n');
            }
        }
        prop_assert_eq!(streamed(&mask, &text, &cuts), mask.bytes(&text).into_owned());
    }
}

fn shown(secret: &str, text: &str) -> String {
    let mask = Mask::new([("S", secret.as_bytes())]);
    mask.text(text).into_owned()
}

#[test]
fn what_is_no_secret_is_not_touched() {
    assert_eq!(shown("hunter2!", "hunter, hunter2 and hunt"), "hunter, hunter2 and hunt");
    assert_eq!(shown("hunter2!", "a hunter2! b"), "a *** b");
    assert_eq!(shown("hunter2!", "hunter2!hunter2!"), "***");
}

#[test]
fn a_long_secret_is_hidden_from_its_beginning_on() {
    let secret = "ghp_0123456789abcdefghij";
    assert_eq!(shown(secret, "found 'ghp_0123456789abcdefg…'"), "found '***…'");
    assert_eq!(shown(secret, "ghp_0123456789a"), "ghp_0123456789a");
    // Only the whole is what an output is refused for.
    let mask = Mask::new([("S", secret.as_bytes())]);
    assert_eq!(mask.find(b"ghp_0123456789abcdefghi"), None);
    assert!(mask.find(b"ghp_0123456789abcdefghij").is_some());
}

#[test]
fn wrapped_base64_and_hex_are_found_over_their_lines() {
    let secret: String = (0..90_u8).map(|at| char::from(b'!' + at)).collect();
    for form in forms::of(secret.as_bytes()).into_iter().filter(|form| form.wraps) {
        for width in [20, 60, 64, 76] {
            for ending in ["\n", "\r\n"] {
                let lines: Vec<&str> = form
                    .bytes
                    .chunks(width)
                    .map(|line| std::str::from_utf8(line).unwrap())
                    .collect();
                let text = format!("see\n{}\nend", lines.join(ending));
                assert_eq!(shown(&secret, &text), "see\n***\nend", "{} {width}", form.name);
            }
        }
    }
}

#[test]
fn a_line_is_not_held_back_because_its_end_looks_like_a_beginning() {
    // `aHVu` begins the base64 of the secret.
    let mask = mask(&[b"hunter2!".to_vec()]);
    let mut masker = Masker::new(mask);
    let mut out = Vec::new();
    masker.push(b"ready aHV\n", &mut out);
    assert_eq!(out, b"ready aHV\n");
    masker.push(b"uZGVyMiE=\n", &mut out);
    masker.push(b"hunter2", &mut out);
    assert_eq!(out, b"ready aHV\nuZGVyMiE=\n");
    masker.finish(&mut out);
    assert_eq!(out, b"ready aHV\nuZGVyMiE=\nhunter2");
}

#[test]
fn a_break_near_the_beginning_hides_what_comes_after_it() {
    let out = shown("hunter2 and more", "aHV\nudGVyMiBhbmQgbW9yZQ==");
    assert_eq!(out, "aHV\n***");
}

#[test]
fn what_is_held_back_is_less_than_a_form() {
    let secret = vec![b'a'; 500];
    let longest = forms::of(&secret).iter().map(|form| form.bytes.len()).max().unwrap();
    let mut masker = Masker::new(mask(std::slice::from_ref(&secret)));
    let mut out = Vec::new();
    for _ in 0..100 {
        masker.push(&[b'%'; 1000], &mut out);
        masker.push(b"61\n", &mut out);
        masker.push(&[b'a'; 499], &mut out);
        assert!(masker.place.waiting.len() < 3 * longest);
    }
}

#[test]
fn a_hostile_stream_takes_time_in_proportion_to_its_length() {
    // Each byte continues a match of thousands; a search that starts anew would look at 64 MiB times that.
    let secret = vec![b'a'; 4000];
    let mut needle = secret.clone();
    needle.push(b'b');
    let mask = mask(&[needle]);
    let text = vec![b'a'; 4 << 20];
    let began = std::time::Instant::now();
    let mut masker = Masker::new(mask);
    let mut out = Vec::new();
    for piece in text.chunks(64 << 10) {
        masker.push(piece, &mut out);
    }
    masker.finish(&mut out);
    assert_eq!(out, b"***");
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn the_name_and_the_form_are_told() {
    let mask = Mask::new([("TOKEN", &b"hunter2!"[..])]);
    let told = |text: &str| {
        let found = mask.find_in(text.as_bytes()).unwrap().unwrap();
        format!("{} {}", found.secret, found.form)
    };
    assert_eq!(told("x hunter2!"), "TOKEN as it is");
    assert_eq!(told("x aHVudGVyMiE="), "TOKEN as base64");
    assert_eq!(told("x 68756E7465723221"), "TOKEN as hex");
    assert_eq!(mask.find_in(&b"hunter2"[..]).unwrap(), None);
}
