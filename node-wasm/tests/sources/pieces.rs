//! A kept file is checked in pieces by the browser, and whole where that cannot be.

use super::*;
use js_sys::{Array, Promise};
use wasm_bindgen_futures::JsFuture;

/// A model of nine pieces and a bit; what it has seen of the network is forgotten.
async fn several_pieces() -> (Rig, Server, Vec<u8>) {
    let (mut rig, server) = fresh().await;
    let bytes = [big(4), vec![0; weight_bytes(4) as usize]].concat();
    assert!(bytes.len() > 4 << 20, "{} bytes", bytes.len());
    server.serve(URL, &bytes, r#"{"ranges":true,"etag":"\"a\""}"#);
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert_eq!(server.log(), ["all"]);
    (rig, server, bytes)
}

/// Runs `body` with the folder of kept files; gives what it returns.
async fn in_folder(body: &str) -> JsValue {
    let script = format!(
        r#"return (async () => {{
             const root = await navigator.storage.getDirectory();
             const folder = await root.getDirectoryHandle("thrum-kept");
             const named = async (end) => {{
               for await (const [name, file] of folder) if (name.endsWith(end)) return file;
               throw new Error("nothing ends in " + end);
             }};
             const change = async (file, how) => {{
               const access = await file.createSyncAccessHandle();
               try {{ return how(access); }} finally {{ access.flush(); access.close(); }}
             }};
             {body}
           }})();"#
    );
    let promise = Function::new_no_args(&script).call0(&JsValue::NULL);
    let promise: Promise = promise.expect("the script runs").into();
    JsFuture::from(promise).await.expect("the files are there")
}

/// Changes one bit of the kept file.
async fn damage(at: usize) {
    in_folder(&format!(
        r#"await change(await named(".0"), (access) => {{
             const byte = new Uint8Array(1);
             access.read(byte, {{ at: {at} }});
             byte[0] ^= 1;
             access.write(byte, {{ at: {at} }});
           }});"#
    ))
    .await;
}

/// Digests that the browser was asked for while `rig` loaded the model from the storage.
async fn digests_of_a_load(rig: &mut Rig, server: &Server) -> u32 {
    let count = Function::new_no_args(
        r#"const own = SubtleCrypto.prototype.digest;
           let calls = 0;
           SubtleCrypto.prototype.digest = function (...all) { calls += 1; return own.apply(this, all); };
           return () => { SubtleCrypto.prototype.digest = own; return calls; };"#,
    );
    let calls: Function = count.call0(&JsValue::NULL).expect("it runs").into();
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert!(server.log().is_empty(), "it was in the storage");
    let calls = calls.call0(&JsValue::NULL).expect("it is undone");
    calls.as_f64().expect("a number") as u32
}

fn pieces_of(bytes: &[u8]) -> u32 {
    bytes.len().div_ceil(512 << 10) as u32
}

#[wasm_bindgen_test]
async fn one_bit_in_any_piece_is_noticed_and_the_file_comes_again() {
    let (mut rig, server, bytes) = several_pieces().await;
    let piece = 512 << 10;
    let header = 20;
    let ends = [header, piece, 5 * piece - 1, bytes.len() - 4];
    for at in ends {
        damage(at).await;
        rig.load_url(URL, None, None);
        let (events, _) = rig.ready().await;
        let told = events.iter().any(|event| {
            matches!(event,
            EngineEvent::Log { message, .. } if message.contains("the kept file is bad"))
        });
        assert!(told, "byte {at}: {events:?}");
        assert_eq!(server.log(), ["all"], "byte {at}");
        let Some(EngineEvent::Ready { model, .. }) = events.last() else {
            panic!("{events:?}");
        };
        assert_eq!(model.id, sha256(&bytes));
    }
    assert_eq!(
        digests_of_a_load(&mut rig, &server).await,
        pieces_of(&bytes)
    );
}

#[wasm_bindgen_test]
async fn a_file_that_became_shorter_or_longer_is_noticed() {
    let (mut rig, server, bytes) = several_pieces().await;
    for length in [bytes.len() - 1, 512 << 10, bytes.len() + (1 << 20)] {
        let script = format!(r#"await change(await named(".0"), (it) => it.truncate({length}));"#);
        in_folder(&script).await;
        rig.load_url(URL, None, None);
        rig.ready().await;
        assert_eq!(server.log(), ["all"], "{length} bytes");
    }
}

/// As after an update of this program, or when the list suffered.
#[wasm_bindgen_test]
async fn without_a_good_list_the_file_is_hashed_whole_and_listed() {
    let (mut rig, server, bytes) = several_pieces().await;
    let all = pieces_of(&bytes);
    let spoils = [
        r#"for await (const name of folder.keys())
             if (name.endsWith(".pieces")) await folder.removeEntry(name);"#,
        r#"await change(await named(".pieces"), (it) => it.truncate(it.getSize() / 2));"#,
        r#"await change(await named(".pieces"), (it) => it.truncate(0));"#,
        r#"await change(await named(".pieces"), (it) => it.write(new TextEncoder().encode("x"), { at: 99 }));"#,
    ];
    for spoil in spoils {
        in_folder(spoil).await;
        assert_eq!(digests_of_a_load(&mut rig, &server).await, 0, "{spoil}");
        assert_eq!(digests_of_a_load(&mut rig, &server).await, all, "{spoil}");
    }
    // A bit is noticed without a list too.
    in_folder(spoils[0]).await;
    damage(bytes.len() - 4).await;
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert_eq!(server.log(), ["all"]);
}

/// Pages that came over plain HTTP get no `crypto.subtle`.
#[wasm_bindgen_test]
async fn without_the_browsers_digest_the_file_is_hashed_here() {
    let (mut rig, server, bytes) = several_pieces().await;
    let hide = Function::new_no_args(
        r#"Object.defineProperty(crypto, "subtle", { value: undefined, configurable: true });
           return () => { delete crypto.subtle; };"#,
    );
    let undo: Function = hide.call0(&JsValue::NULL).expect("it runs").into();
    assert_eq!(digests_of_a_load(&mut rig, &server).await, 0);
    damage(1 << 20).await;
    rig.load_url(URL, None, None);
    rig.ready().await;
    assert_eq!(server.log(), ["all"], "a bit is noticed");
    undo.call0(&JsValue::NULL).expect("it is undone");
    // What was downloaded meanwhile has no list.
    assert_eq!(digests_of_a_load(&mut rig, &server).await, 0);
    assert_eq!(
        digests_of_a_load(&mut rig, &server).await,
        pieces_of(&bytes)
    );
}

/// A model that is removed leaves no file, and one that cannot be removed stays listed.
#[wasm_bindgen_test]
async fn nothing_is_left_that_is_not_listed() {
    let (mut rig, _server, bytes) = several_pieces().await;
    let names = r#"const names = [];
        for await (const name of folder.keys()) if (!name.endsWith(".txt")) names.push(name);
        return names;"#;
    let files = Array::from(&in_folder(names).await);
    assert_eq!(files.length(), 3, "record, file, list");
    let forget = Order::Forget {
        model: sha256(&bytes),
    };
    in_folder(r#"globalThis.busy = await (await named(".0")).createSyncAccessHandle();"#).await;
    rig.order(forget.clone());
    rig.event().await;
    assert_eq!(kept(&mut rig).await.len(), 1, "another reads it");
    in_folder("globalThis.busy.close();").await;
    rig.order(forget);
    rig.event().await;
    assert_eq!(kept(&mut rig).await, []);
    assert_eq!(Array::from(&in_folder(names).await).length(), 0);
}
