use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

pub(super) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn keying(suite: Suite) -> Keying {
    Keying::draw(suite, &mut StdRng::seed_from_u64(7))
}

fn pair(suite: Suite) -> (Protector, Opener) {
    (Protector::new(&keying(suite)), Opener::new(&keying(suite)))
}

fn packet(sequence: u16, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let stamp = u32::from(sequence) * 160;
    [&[0x80, 0][..], &sequence.to_be_bytes(), &stamp.to_be_bytes(), &ssrc.to_be_bytes(), payload].concat()
}

/// As a protector that has the rollover counter at `rollover` would send it.
fn sealed_at(suite: Suite, rollover: u64, sequence: u16, ssrc: u32) -> Vec<u8> {
    let mut protector = Protector::new(&keying(suite));
    if rollover > 0 {
        protector.sent.reach((rollover << 16).saturating_sub(1));
        if sequence >= 1 << 15 {
            protector.sent.reach((rollover << 16) + (1 << 15) - 1);
        }
    }
    seal(&mut protector, &packet(sequence, ssrc, b"voice"))
}

fn seal(protector: &mut Protector, plain: &[u8]) -> Vec<u8> {
    let mut buffer = [plain, &[0; GROWTH_MOST]].concat();
    let length = protector.protect(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn seal_rtcp(protector: &mut Protector, plain: &[u8]) -> Vec<u8> {
    let mut buffer = [plain, &[0; GROWTH_MOST]].concat();
    let length = protector.protect_rtcp(&mut buffer, plain.len()).unwrap();
    buffer.truncate(length);
    buffer
}

fn opened(opener: &mut Opener, secret: &[u8]) -> Result<Vec<u8>, Bad> {
    let mut packet = secret.to_vec();
    opener.open(&mut packet).map(|length| packet[..length].to_vec())
}

fn opened_rtcp(opener: &mut Opener, secret: &[u8]) -> Result<Vec<u8>, Bad> {
    let mut packet = secret.to_vec();
    opener.open_rtcp(&mut packet).map(|length| packet[..length].to_vec())
}

/// Whole packets, from master key to tag, as another implementation (libsrtp's driver) makes them.
#[test]
fn packets_are_those_of_others() {
    let master = hex("e1f97a0d3e018be0d64fa32c06de4139 0ec675ad498afeebb6960b3aabe6");
    let keying = Keying::new(Suite::Aes128CmSha1Tag80, &master).unwrap();
    let plain = [hex("800f1234decafbadcafebabe"), vec![0xab; 16]].concat();
    let secret = hex("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb");
    assert_eq!(seal(&mut Protector::new(&keying), &plain), secret);
    assert_eq!(opened(&mut Opener::new(&keying), &secret), Ok(plain));

    let plain = [hex("81c8000bcafebabe"), vec![0xab; 16]].concat();
    let secret = hex("81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798");
    let mut protector = Protector::new(&keying);
    protector.report = 1;
    assert_eq!(seal_rtcp(&mut protector, &plain), secret);
    assert_eq!(opened_rtcp(&mut Opener::new(&keying), &secret), Ok(plain));
}

#[test]
fn each_suite_grows_a_packet_by_its_tag() {
    for (suite, rtp, rtcp) in
        [(Suite::Aes128CmSha1Tag80, 10, 14), (Suite::Aes128CmSha1Tag32, 4, 14), (Suite::Aes128Gcm, 16, 20)]
    {
        let (mut protector, mut opener) = pair(suite);
        let plain = packet(5, 9, &[0x55; 160]);
        let secret = seal(&mut protector, &plain);
        assert_eq!(secret.len(), plain.len() + rtp);
        assert_eq!(secret[..12], plain[..12]);
        assert_ne!(secret[12..172], plain[12..]);
        assert_eq!(opened(&mut opener, &secret), Ok(plain.clone()));

        let report = [&[0x80, 201, 0, 1], &9u32.to_be_bytes()[..], &[7; 24]].concat();
        let secret = seal_rtcp(&mut protector, &report);
        assert_eq!(secret.len(), report.len() + rtcp);
        assert_eq!(opened_rtcp(&mut opener, &secret), Ok(report.clone()));
        assert_eq!(opened_rtcp(&mut opener, &secret), Err(Bad::Repeated));
        assert!(rtcp <= GROWTH_MOST && suite.keying_octets() <= KEYING_MOST);
        assert_eq!(Suite::named(suite.name()), Some(suite));
        let mut tight = plain.clone();
        assert_eq!(protector.protect(&mut tight, 172), Err(Bad::NoRoom));
        assert_eq!(protector.protect(&mut tight, 173), Err(Bad::NoRoom));
    }
}

#[test]
fn headers_of_every_shape_stay_readable() {
    let (mut protector, mut opener) = pair(Suite::Aes128CmSha1Tag80);
    let mut extended = packet(1, 9, b"\0\0\0\x01wordvoice");
    extended[0] = 0x90;
    let secret = seal(&mut protector, &extended);
    assert_eq!(secret[..20], extended[..20]);
    assert_ne!(secret[20..25], extended[20..]);
    assert_eq!(opened(&mut opener, &secret), Ok(extended.clone()));

    for broken in [&extended[..15], &extended[..19], &extended[..11], &[]] {
        let mut buffer = [broken, &[0; GROWTH_MOST]].concat();
        assert_eq!(protector.protect(&mut buffer, broken.len()), Err(Bad::Malformed));
    }
}

#[test]
fn the_count_of_wraps_is_right_over_loss_and_disorder() {
    for suite in Suite::ALL {
        let (mut protector, mut opener) = pair(suite);
        let mut secrets: Vec<Vec<u8>> =
            (0..300u32).map(|i| seal(&mut protector, &packet((65_500 + i) as u16, 9, b"voice"))).collect();
        // Pairs change places all along, the wrap between them too; every fifth is lost.
        secrets.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        for (place, secret) in secrets.iter().enumerate().filter(|(place, _)| place % 5 != 0) {
            assert!(opened(&mut opener, secret).is_ok(), "{place}");
        }
        assert_eq!(opener.sources[0].numbers.highest(), Some(65_799));
    }
}

#[test]
fn the_first_packets_may_be_lost_even_around_the_wrap() {
    let (mut protector, mut opener) = pair(Suite::Aes128CmSha1Tag80);
    seal(&mut protector, &packet(65_535, 9, b"lost"));
    let first = seal(&mut protector, &packet(3, 9, b"voice"));
    assert!(opened(&mut opener, &first).is_ok());
    assert_eq!(opener.sources[0].numbers.highest(), Some(65_539));
}

#[test]
fn years_of_wraps() {
    for rollover in [1, 2, 0x7fff_ffff, 0xffff_ffff] {
        let mut opener = Opener::new(&keying(Suite::Aes128Gcm));
        opener.believe(None, 9).numbers.reach((rollover << 16) - 1);
        assert!(opened(&mut opener, &sealed_at(Suite::Aes128Gcm, rollover, 0, 9)).is_ok(), "{rollover}");
    }
    // The last number of the key, and none after it.
    let mut protector = Protector::new(&keying(Suite::Aes128Gcm));
    protector.sent.reach(Extended::MOST - 2);
    seal(&mut protector, &packet(0xffff, 9, b"voice"));
    let mut buffer = [packet(0, 9, b"voice"), vec![0; GROWTH_MOST]].concat();
    assert_eq!(protector.protect(&mut buffer, 17), Err(Bad::Spent));
    protector.report = ENCRYPTED;
    let mut buffer = [&[0x80, 201, 0, 1], &9u32.to_be_bytes()[..], &[0; GROWTH_MOST]].concat();
    assert_eq!(protector.protect_rtcp(&mut buffer, 8), Err(Bad::Spent));
}

#[test]
fn no_number_is_used_twice() {
    let (mut protector, _) = pair(Suite::Aes128CmSha1Tag80);
    seal(&mut protector, &packet(10, 9, b"voice"));
    for (sequence, ssrc, bad) in [(10, 9, Bad::Repeated), (9, 9, Bad::Repeated), (11, 8, Bad::OtherSource)] {
        let mut buffer = [packet(sequence, ssrc, b"voice"), vec![0; GROWTH_MOST]].concat();
        assert_eq!(protector.protect(&mut buffer, 17), Err(bad));
        assert_eq!(buffer[..17], packet(sequence, ssrc, b"voice"));
    }
}

#[test]
fn repeats_and_forgeries_change_nothing() {
    for suite in Suite::ALL {
        let (mut protector, mut opener) = pair(suite);
        let secrets: Vec<Vec<u8>> =
            (0..200).map(|sequence| seal(&mut protector, &packet(sequence, 9, b"voice"))).collect();
        for secret in &secrets[..100] {
            assert!(opened(&mut opener, secret).is_ok());
            assert_eq!(opened(&mut opener, secret), Err(Bad::Repeated));
        }
        // Every octet counts, header, secret and tag alike; none of these moves the window or the count of wraps.
        for place in 0..secrets[150].len() {
            let mut forged = secrets[150].clone();
            forged[place] ^= 0x01;
            assert!(opened(&mut opener, &forged).is_err(), "{place}");
        }
        // Neither do numbers far ahead from many made-up sources.
        for made_up in 1_000..1_100u32 {
            let mut forged = packet(40_000, made_up, &[0; 30]);
            forged[2] ^= made_up as u8;
            assert_eq!(opened(&mut opener, &forged), Err(Bad::Forged));
        }
        for secret in &secrets[100..] {
            assert!(opened(&mut opener, secret).is_ok());
        }
        assert_eq!(opened(&mut opener, &secrets[71]), Err(Bad::Repeated));
        assert_eq!(opened(&mut opener, &packet(201, 9, b"no secret at all")), Err(Bad::Forged));
        assert_eq!(opened(&mut opener, &secrets[0][..11]), Err(Bad::Malformed));
    }
}

#[test]
fn a_source_that_comes_back_finds_its_window() {
    let mut opener = Opener::new(&keying(Suite::Aes128CmSha1Tag80));
    let of = |ssrc: u32, sequence: u16| {
        seal(&mut Protector::new(&keying(Suite::Aes128CmSha1Tag80)), &packet(sequence, ssrc, b"voice"))
    };
    for ssrc in 0..SOURCES as u32 {
        assert!(opened(&mut opener, &of(ssrc, 7)).is_ok());
    }
    for ssrc in 0..SOURCES as u32 {
        assert_eq!(opened(&mut opener, &of(ssrc, 7)), Err(Bad::Repeated));
        assert!(opened(&mut opener, &of(ssrc, 8)).is_ok());
    }
}

#[test]
fn reports_that_are_signed_alone_are_read() {
    // The E flag is the sender's choice, packet by packet (RFC 3711 section 3.4).
    for suite in Suite::ALL {
        let cipher = Cipher::new(&keying(suite), Purpose::Rtcp);
        let report = [&[0x80, 201, 0, 1], &9u32.to_be_bytes()[..]].concat();
        let tag = suite.row().rtcp_tag;
        let mut packet = [&report[..], &vec![0; tag + WORD]].concat();
        cipher.sign_rtcp(&mut packet, report.len(), tag, 9, 5);
        assert_eq!(opened_rtcp(&mut Opener::new(&keying(suite)), &packet), Ok(report), "{suite:?}");
    }
}

#[test]
fn keys_are_never_printed() {
    let keying = keying(Suite::Aes128Gcm);
    let told = format!("{keying:?} {:?} {:?}", Protector::new(&keying), Opener::new(&keying));
    assert_eq!(told, "Keying(AEAD_AES_128_GCM) Protector(AEAD_AES_128_GCM) Opener(AEAD_AES_128_GCM)");
    assert!(Keying::new(Suite::Aes128Gcm, &[0; 30]).is_none() && Keying::new(Suite::Aes128Gcm, &[0; 28]).is_some());
}

proptest! {
    #[test]
    fn what_is_protected_opens_again(
        payload in prop::collection::vec(any::<u8>(), 0..600), sequence: u16, ssrc: u32, suite in 0usize..3,
    ) {
        let (mut protector, mut opener) = pair(Suite::ALL[suite]);
        let plain = packet(sequence, ssrc, &payload);
        prop_assert_eq!(opened(&mut opener, &seal(&mut protector, &plain)), Ok(plain));
        let report = [&[0x80, 200, 0, 1], &ssrc.to_be_bytes()[..], &payload].concat();
        prop_assert_eq!(opened_rtcp(&mut opener, &seal_rtcp(&mut protector, &report)), Ok(report));
    }

    #[test]
    fn noise_opens_nothing(mut noise in prop::collection::vec(any::<u8>(), 0..120), suite in 0usize..3) {
        let (_, mut opener) = pair(Suite::ALL[suite]);
        if let Some(first) = noise.first_mut() {
            *first = 0x80 | (*first & 0x3f);
        }
        prop_assert!(opener.open(&mut noise.clone()).is_err());
        prop_assert!(opener.open_rtcp(&mut noise).is_err());
        prop_assert_eq!(opener.believed, 0);
    }
}
