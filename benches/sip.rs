//! Reading and writing one INVITE, as a carrier sends it. To reach: reading with all typed headers at least 300,000 a
//! second on one core, so that signalling of 2,000 calls a second (7 messages each) costs less than a twentieth of one.
//! The same is read by two other libraries, for a measure of the machine.

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tollbridge::sip::transport::StreamFramer;
use tollbridge::sip::{Framing, Message, Request, Response};

const INVITE: &str = "INVITE sip:+390612345678@bridge.example.net:5060;user=phone SIP/2.0\r\n\
Via: SIP/2.0/UDP 192.0.2.11:5060;rport;branch=z9hG4bK-524287-1---9ce4a8f2c0de1c31\r\n\
Via: SIP/2.0/UDP 192.0.2.77:5080;received=192.0.2.77;rport=5080;branch=z9hG4bK0f3a.77b2.1\r\n\
Record-Route: <sip:192.0.2.11;lr;ftag=8f2c0de1>\r\n\
Max-Forwards: 68\r\n\
Contact: <sip:+12125550123@192.0.2.77:5080;transport=udp>\r\n\
To: <sip:+390612345678@bridge.example.net;user=phone>\r\n\
From: \"Alice Example\" <sip:+12125550123@carrier.example.com;user=phone>;tag=8f2c0de1\r\n\
Call-ID: 7a1f0b1e-66d2-4c14-9a52-0b27f2c6a9d4@192.0.2.77\r\n\
CSeq: 102 INVITE\r\n\
P-Asserted-Identity: \"Alice Example\" <sip:+12125550123@carrier.example.com;user=phone>\r\n\
Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, PRACK\r\n\
Supported: timer, 100rel, replaces\r\n\
User-Agent: Carrier SBC 9.4\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 287\r\n\
\r\n\
v=0\r\n\
o=- 1763929802 1763929802 IN IP4 192.0.2.78\r\n\
s=-\r\n\
c=IN IP4 192.0.2.78\r\n\
t=0 0\r\n\
m=audio 30122 RTP/AVP 9 8 0 101\r\n\
a=rtpmap:9 G722/8000\r\n\
a=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-15\r\n\
a=ptime:20\r\n\
a=maxptime:40\r\n\
a=sendrecv\r\n\
a=rtcp:30123\r\n";

fn parse(bytes: &Bytes) -> Request {
    match Message::parse(bytes, Framing::Datagram) {
        Ok(Message::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

/// The same by another library: whatever of it they both have types for.
macro_rules! other_reader {
    ($name:ident, $request:path, $error:path, $($trait:path),*) => {
        mod $name {
            use std::hint::black_box;
            $(use $trait as _;)*

            pub fn read(bytes: &[u8]) -> Result<(), $error> {
                let request = <$request>::try_from(bytes)?;
                let parties = (request.from_header()?.typed()?, request.to_header()?.typed()?);
                let way = (request.via_header()?.typed()?, request.contact_header()?.typed()?);
                black_box((parties, way, request.cseq_header()?.typed()?, request.call_id_header()?.value().len()));
                Ok(())
            }
        }
    };
}

other_reader!(
    by_rsip,
    rsip::Request,
    rsip::Error,
    rsip::prelude::HeadersExt,
    rsip::prelude::ToTypedHeader,
    rsip::prelude::UntypedHeader
);
other_reader!(
    by_rsipstack,
    rsipstack::sip::Request,
    rsipstack::sip::Error,
    rsipstack::sip::HeadersExt,
    rsipstack::sip::headers::ToTypedHeader
);

fn bench(criterion: &mut Criterion) {
    let bytes = Bytes::from_static(INVITE.as_bytes());
    let request = parse(&bytes);
    let mut group = criterion.benchmark_group("sip");
    group.throughput(Throughput::Elements(1));
    group.bench_function("read", |bencher| bencher.iter(|| parse(black_box(&bytes))));
    group.bench_function("read_and_ask", |bencher| {
        bencher.iter(|| {
            let request = parse(black_box(&bytes));
            let tags = (request.from().tag().map(str::len), request.to().tag().map(str::len));
            let parties = (request.uri().user_unescaped(), request.addresses("P-Asserted-Identity"));
            let way = (request.via().branch().map(str::len), request.record_routes(), request.contact().is_some());
            black_box((tags, parties, way, request.call_id().len(), request.cseq()))
        })
    });
    group.bench_function("read_by_rsip", |bencher| bencher.iter(|| by_rsip::read(black_box(&bytes))));
    group.bench_function("read_by_rsipstack", |bencher| bencher.iter(|| by_rsipstack::read(black_box(&bytes))));
    group.bench_function("write_request", |bencher| bencher.iter(|| black_box(&request).to_bytes()));
    group.bench_function("answer", |bencher| {
        bencher.iter(|| {
            let mut response = Response::to(black_box(&request), 180, "");
            response.set_to_tag("5f1d2c3b");
            response.to_bytes()
        })
    });
    group.bench_function("frame", |bencher| {
        let mut framer = StreamFramer::new();
        bencher.iter(|| {
            framer.push(black_box(&bytes));
            framer.next()
        })
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
