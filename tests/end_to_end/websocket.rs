//! WebSocket by hand: the very frames of the specification, without a client library that forgives.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tests::Launch;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

const HEARD_WITHIN: Duration = Duration::from_secs(20);

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(url: &str) -> Socket {
        Socket(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    async fn say(&mut self, id: u64, method: &str, params: Value) {
        let call = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.0.send(Message::text(call.to_string())).await.unwrap();
    }

    /// The next message that `wanted` takes.
    async fn hear(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let hearing = async {
            loop {
                let message = self.0.next().await.expect("the socket stays open").unwrap();
                let Message::Text(text) = message else { continue };
                let message: Value = serde_json::from_str(&text).unwrap();
                if wanted(&message) {
                    return message;
                }
            }
        };
        tokio::time::timeout(HEARD_WITHIN, hearing).await.expect("it is heard in time")
    }
}

/// Guards against notifications in Ethereum's shape, and answers that lose their id between them.
#[tokio::test]
async fn heads_come_in_the_shape_of_the_specification() {
    let chain = Launch::new().start().await;
    let mut socket = Socket::open(&chain.ws()).await;
    socket.say(7, "starknet_subscribeNewHeads", json!({})).await;
    let subscription = socket.hear(|message| message["id"] == 7).await["result"].clone();
    assert!(subscription.is_string(), "a subscription id is a string: {subscription}");

    let head = socket.hear(|message| message["method"] == "starknet_subscriptionNewHeads").await;
    assert_eq!(head["params"]["subscription_id"], subscription);
    assert!(head["params"]["result"]["block_number"].is_u64(), "{head}");
    assert_eq!(head.get("id"), None);

    socket.say(8, "starknet_unsubscribe", json!({ "subscription_id": subscription })).await;
    assert_eq!(socket.hear(|message| message["id"] == 8).await["result"], true);
    socket.say(9, "starknet_unsubscribe", json!({ "subscription_id": subscription })).await;
    assert_eq!(socket.hear(|message| message["id"] == 9).await["error"]["code"], 66);
}

/// Guards against sockets that can subscribe and nothing else.
#[tokio::test]
async fn every_method_can_be_called_through_a_socket() {
    let chain = Launch::new().start().await;
    let mut socket = Socket::open(&chain.ws()).await;
    socket.say(1, "starknet_chainId", json!([])).await;
    let answer = socket.hear(|message| message["id"] == 1).await;
    assert_eq!(Ok(answer["result"].clone()), chain.rpc("starknet_chainId", json!([])).await);
    socket.say(2, "starknet_nonsense", json!([])).await;
    assert_eq!(socket.hear(|message| message["id"] == 2).await["error"]["code"], -32601);
}
