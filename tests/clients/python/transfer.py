"""A transfer by starknet.py: estimated, sent, waited for, and seen in balance, receipt and events."""

import asyncio
import json
import os

from starknet_py.contract import Contract
from starknet_py.net.account.account import Account
from starknet_py.net.full_node_client import FullNodeClient
from starknet_py.net.signer.stark_curve_signer import KeyPair

STRK = 0x04718F5A0FC34CC1AF16A1CDEE98FFB20C31F5CD61D6AB07201858F4287C938D


async def main() -> None:
    chain = json.loads(os.environ["SEQUENZA_CHAIN"])
    client = FullNodeClient(node_url=chain["rpc"])
    sender, recipient = chain["accounts"][0], chain["accounts"][1]
    account = Account(
        address=int(sender["address"], 16),
        client=client,
        key_pair=KeyPair.from_private_key(int(sender["privateKey"], 16)),
        chain=int(await client.get_chain_id(), 16),
    )
    token = await Contract.from_address(address=STRK, provider=account)
    to = int(recipient["address"], 16)
    (before,) = await token.functions["balance_of"].call(to, block_number="latest")

    invocation = await token.functions["transfer"].invoke_v3(to, 4321, auto_estimate=True)
    await client.wait_for_tx(invocation.hash, check_interval=0.1)
    while (await client.get_transaction_receipt(invocation.hash)).block_hash is None:
        await asyncio.sleep(0.05)

    receipt = await client.get_transaction_receipt(invocation.hash)
    assert receipt.execution_status.value == "SUCCEEDED", receipt
    assert receipt.actual_fee.amount > 0, receipt
    (after,) = await token.functions["balance_of"].call(to, block_number="latest")
    assert after == before + 4321, (before, after)


asyncio.run(main())
