//! Random texts for the tests of parsers.

/// Has `parse` read texts of any kind: `samples`, what becomes of them by small changes, and what is
/// nothing at all. It may make of them what it likes, as long as it doesn't panic.
pub(crate) fn survives_anything(samples: &[&str], mut parse: impl FnMut(&str)) {
    const PIECES: &str = "0 1 9 - + . , : = max 18446744073709551615 18446744073709551616 -1 \n \t \0 \" { } [ ] é \u{2028}";
    // A fixed sequence without a pattern (xorshift).
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    let pieces: Vec<&str> = PIECES.split(' ').chain([" "]).collect();
    for sample in samples {
        parse(sample);
        for _ in 0..3000 {
            let mut text: Vec<char> = sample.chars().collect();
            for _ in 0..=random(4) {
                let (from, len) = (random(text.len() + 1), random(8));
                let to = (from + len).min(text.len());
                match random(3) {
                    0 => drop(text.drain(from..to)),
                    1 => drop(text.splice(from..to, pieces[random(pieces.len())].chars())),
                    _ => {
                        let copy = text[from..to].to_vec();
                        let at = random(text.len() + 1);
                        text.splice(at..at, copy);
                    }
                }
            }
            parse(&text.into_iter().collect::<String>());
        }
    }
    for _ in 0..3000 {
        let bytes: Vec<u8> = (0..random(64)).map(|_| random(256) as u8).collect();
        parse(&String::from_utf8_lossy(&bytes));
    }
}
