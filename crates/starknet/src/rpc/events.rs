//! `starknet_getEvents`: pages over sealed blocks and, where asked for, the open one.
//!
//! A continuation token is the place of the first event that was not looked at, `block-event`. It keeps its meaning
//! when the open block is sealed between two pages, because sealing keeps the order of what was executed.

use serde::{Deserialize, Serialize};
use starknet_api::block::BlockNumber;
use starknet_api::core::ContractAddress;
use starknet_types_core::felt::Felt;

use super::block_id::BlockId;
use super::error::{BLOCK_NOT_FOUND, INVALID_CONTINUATION_TOKEN, PAGE_SIZE_TOO_BIG, RpcError, TOO_MANY_KEYS_IN_FILTER};
use super::hex::{Hex, Key, shorten};
use super::receipt::EventJson;
use super::{Limits, from_chain};
use crate::chain::Chain;
use crate::events::{EventCursor, EventFilter, EventPage, PlacedEvent};
use crate::pending::PreConfirmed;
use crate::view::At;

/// What the caller wants (schemas `EVENT_FILTER` and `RESULT_PAGE_REQUEST` in one object).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsRequest {
    from_block: Option<BlockId>,
    to_block: Option<BlockId>,
    address: Option<Addresses>,
    keys: Option<Vec<Vec<Hex>>>,
    continuation_token: Option<String>,
    chunk_size: u64,
}

/// One address or a list of them; an empty list is no restriction.
#[derive(Debug, Default)]
pub(crate) struct Addresses(pub(crate) Vec<ContractAddress>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Addresses;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a contract address or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Addresses, E> {
                let key = Key::deserialize(serde::de::value::StrDeserializer::new(text))?;
                Ok(Addresses(vec![key.address()]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Addresses, A::Error> {
                let mut addresses = Vec::new();
                while let Some(key) = items.next_element::<Key>()? {
                    addresses.push(key.address());
                }
                Ok(Addresses(addresses))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// The values wanted per key position.
///
/// # Errors
/// `TOO_MANY_KEYS_IN_FILTER` when more values are given, over all positions, than the limit.
pub(crate) fn keys(keys: Option<Vec<Vec<Hex>>>, limits: &Limits) -> Result<Vec<Vec<Felt>>, RpcError> {
    let keys = keys.unwrap_or_default();
    // An empty position counts too: it is a position to look at.
    if keys.iter().map(|position| position.len().max(1)).sum::<usize>() > limits.event_keys {
        return Err(TOO_MANY_KEYS_IN_FILTER.into());
    }
    Ok(keys.into_iter().map(|position| position.into_iter().map(|key| key.0).collect()).collect())
}

/// One event with its place (schema `EMITTED_EVENT`).
#[derive(Serialize)]
pub(crate) struct EmittedJson<'a> {
    #[serde(flatten)]
    event: EventJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    block_hash: Option<Hex>,
    block_number: u64,
    transaction_hash: Hex,
    transaction_index: u64,
    event_index: u64,
}

impl<'a> From<&'a PlacedEvent> for EmittedJson<'a> {
    fn from(placed: &'a PlacedEvent) -> Self {
        Self {
            event: EventJson::from(&placed.event),
            block_hash: placed.block_hash.map(|hash| Hex(hash.0)),
            block_number: placed.block_number.0,
            transaction_hash: Hex(placed.transaction_hash.0),
            transaction_index: placed.transaction_index,
            event_index: placed.event_index,
        }
    }
}

/// One page (schema `EVENTS_CHUNK`).
#[derive(Serialize)]
pub(crate) struct EventsJson<'a> {
    events: Vec<EmittedJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continuation_token: Option<String>,
}

impl<'a> From<&'a EventPage> for EventsJson<'a> {
    fn from(page: &'a EventPage) -> Self {
        Self { events: page.events.iter().map(EmittedJson::from).collect(), continuation_token: page.next.map(token) }
    }
}

fn token(cursor: EventCursor) -> String {
    format!("{}-{}", cursor.block.0, cursor.event)
}

fn parse_token(token: &str) -> Option<EventCursor> {
    let (block, event) = token.split_once('-')?;
    // Only what `token` writes: no signs, no leading zeros.
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text);
    Some(EventCursor { block: BlockNumber(number(block)?), event: number(event)? })
}

/// Finds one page of events. Reads the disk: not on an async thread.
///
/// # Errors
/// Those that the specification gives `starknet_getEvents`.
pub(crate) fn page(chain: &Chain, limits: &Limits, request: EventsRequest) -> Result<EventPage, RpcError> {
    if request.chunk_size == 0 {
        return Err(RpcError::invalid_params("filter.chunk_size is 0; a page has at least one event"));
    }
    let limit = usize::try_from(request.chunk_size).unwrap_or(usize::MAX);
    if limit > limits.event_page {
        return Err(PAGE_SIZE_TOO_BIG.with(format!(
            "filter.chunk_size is {}, at most {} events fit into a page",
            request.chunk_size, limits.event_page
        )));
    }
    let filter = EventFilter { addresses: request.address.unwrap_or_default().0, keys: keys(request.keys, limits)? };
    // The open block first: if it is sealed meanwhile, its events are met in the chain and not a second time.
    let open = chain.pre_confirmed();
    let open_number = open.block_info().block_number;
    let head = BlockNumber(open_number.0.saturating_sub(1)).min(chain.head().number);
    let range = Range {
        first: first_block(chain, head, open_number, request.from_block)?,
        last: last_block(chain, head, open_number, request.to_block)?,
    };
    let cursor = match &request.continuation_token {
        None => EventCursor { block: range.first, event: 0 },
        Some(text) => parse_token(text)
            .filter(|cursor| (range.first..=range.last).contains(&cursor.block))
            .ok_or_else(|| INVALID_CONTINUATION_TOKEN.with(shorten(text)))?,
    };
    collect(chain, &open, &filter, cursor, &range, head, limit)
}

struct Range {
    first: BlockNumber,
    last: BlockNumber,
}

fn first_block(
    chain: &Chain,
    head: BlockNumber,
    open: BlockNumber,
    id: Option<BlockId>,
) -> Result<BlockNumber, RpcError> {
    match id {
        None => Ok(BlockNumber(0)),
        Some(BlockId::Number(number)) if number <= head.0 => Ok(BlockNumber(number)),
        Some(BlockId::Number(_)) => Err(BLOCK_NOT_FOUND.into()),
        Some(id) => tagged(chain, head, open, id),
    }
}

/// A number beyond the head is not an error here: the range ends at the head, as other nodes have it.
fn last_block(
    chain: &Chain,
    head: BlockNumber,
    open: BlockNumber,
    id: Option<BlockId>,
) -> Result<BlockNumber, RpcError> {
    match id {
        None => Ok(head),
        Some(BlockId::Number(number)) => Ok(BlockNumber(number).min(head)),
        Some(id) => tagged(chain, head, open, id),
    }
}

fn tagged(chain: &Chain, head: BlockNumber, open: BlockNumber, id: BlockId) -> Result<BlockNumber, RpcError> {
    match id {
        BlockId::Number(number) => Ok(BlockNumber(number)),
        BlockId::Latest => Ok(head),
        BlockId::PreConfirmed => Ok(open),
        BlockId::L1Accepted => Err(BLOCK_NOT_FOUND.into()),
        BlockId::Hash(hash) => chain
            .header(At::Hash(starknet_api::block::BlockHash(hash)))
            .map_err(from_chain)?
            .map(|header| header.number)
            .ok_or_else(|| BLOCK_NOT_FOUND.into()),
    }
}

fn collect(
    chain: &Chain,
    open: &PreConfirmed,
    filter: &EventFilter,
    cursor: EventCursor,
    range: &Range,
    head: BlockNumber,
    limit: usize,
) -> Result<EventPage, RpcError> {
    let mut page = EventPage::default();
    let mut cursor = cursor;
    if cursor.block <= head && cursor.block <= range.last {
        page = chain.events(filter, cursor, range.last.min(head), limit).map_err(from_chain)?;
        if page.next.is_some() || range.last <= head {
            return Ok(page);
        }
        cursor = EventCursor { block: open.block_info().block_number, event: 0 };
    }
    if range.last > head && range.first <= range.last {
        let (events, next) = open.events(filter, cursor.event, limit - page.events.len());
        page.events.extend(events);
        page.next = next.map(|event| EventCursor { block: open.block_info().block_number, event });
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_was_written_and_nothing_else() {
        let cursor = EventCursor { block: BlockNumber(12), event: 345 };
        assert_eq!(parse_token(&token(cursor)), Some(cursor));
        for junk in ["", "12", "12-", "-1", "+1-2", "01-2", "1-2-3", "a-b", "1 -2", "99999999999999999999-1"] {
            assert_eq!(parse_token(junk), None, "{junk}");
        }
    }

    #[test]
    fn addresses_come_alone_or_in_a_list() {
        let one: Addresses = serde_json::from_str(r#""0x1""#).expect("one");
        let two: Addresses = serde_json::from_str(r#"["0x1", "0x2"]"#).expect("two");
        assert_eq!((one.0.len(), two.0.len()), (1, 2));
        assert!(serde_json::from_str::<Addresses>("7").is_err());
    }

    #[test]
    fn keys_are_counted_over_all_positions() {
        let limits = Limits { event_keys: 3, ..Limits::default() };
        let some = |lengths: &[usize]| Some(lengths.iter().map(|length| vec![Hex(Felt::ONE); *length]).collect());
        assert!(keys(some(&[1, 2]), &limits).is_ok());
        assert_eq!(keys(some(&[1, 3]), &limits).expect_err("four").code, 34);
        assert_eq!(keys(some(&[0, 0, 0, 0]), &limits).expect_err("four").code, 34);
    }
}
