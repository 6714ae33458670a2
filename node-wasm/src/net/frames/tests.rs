//! Frames, whole, broken and oversized.

use super::*;
use futures::io::Cursor;
use wasm_bindgen_test::wasm_bindgen_test;

#[wasm_bindgen_test]
async fn what_is_written_is_read() {
    for length in [0, 1, 127, 128, 16_383, 16_384, MAX_FRAME_BYTES] {
        let frame: Vec<u8> = (0..length).map(|at| at as u8).collect();
        let mut stream = Cursor::new(Vec::new());
        write(&mut stream, &frame).await.unwrap();
        stream.set_position(0);
        assert_eq!(read(&mut stream).await.unwrap(), Some(frame));
        assert_eq!(read(&mut stream).await.unwrap(), None);
    }
}

async fn refused(bytes: &[u8]) -> FrameError {
    read(&mut Cursor::new(bytes.to_vec()))
        .await
        .expect_err("bytes that are no frame")
}

#[wasm_bindgen_test]
async fn a_frame_over_the_limit_is_refused_before_it_is_read() {
    let mut stream = Cursor::new(Vec::new());
    write(&mut stream, &vec![0; MAX_FRAME_BYTES + 1])
        .await
        .unwrap();
    let error = refused(&stream.into_inner()[..4]).await;
    assert!(matches!(error, FrameError::TooLong { got_bytes } if got_bytes == MAX_FRAME_BYTES + 1));
}

#[wasm_bindgen_test]
async fn lengths_that_are_not_shortest_varints_are_refused() {
    assert!(matches!(
        refused(&[0x80, 0x00]).await,
        FrameError::MalformedLength
    ));
    assert!(matches!(
        refused(&[0xff; 10]).await,
        FrameError::MalformedLength
    ));
}

#[wasm_bindgen_test]
async fn a_stream_that_ends_inside_a_frame_is_broken() {
    assert!(matches!(refused(&[0x80]).await, FrameError::Io(_)));
    assert!(matches!(refused(&[3, 1, 2]).await, FrameError::Io(_)));
}
