// viem drives an EVM chain as it would anvil: deploys, calls, reads logs, subscribes, travels in time.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import {
  createPublicClient, createTestClient, createWalletClient, encodeFunctionData, getContract, http, parseEther, parseGwei, webSocket,
} from 'viem';
import { privateKeyToAccount } from 'viem/accounts';
import { foundry } from 'viem/chains';

const { http: url, ws, keys } = JSON.parse(process.env.SEQUENZA_CHAIN);
const chain = { ...foundry, rpcUrls: { default: { http: [url], webSocket: [ws] } } };
const [alice, bob] = keys.map((key) => privateKeyToAccount(key));
const transport = http(url);
const reader = createPublicClient({ chain, transport, pollingInterval: 50 });
const wallet = createWalletClient({ account: alice, chain, transport });
const tester = createTestClient({ mode: 'anvil', chain, transport });

const SOURCE = `// SPDX-License-Identifier: MIT
pragma solidity 0.8.30;
contract Token {
  string public constant name = "Proof";
  mapping(address => uint256) public balanceOf;
  event Transfer(address indexed from, address indexed to, uint256 value);
  error Short(uint256 have, uint256 want);
  constructor(uint256 supply) { balanceOf[msg.sender] = supply; emit Transfer(address(0), msg.sender, supply); }
  function transfer(address to, uint256 value) external returns (bool) {
    if (balanceOf[msg.sender] < value) revert Short(balanceOf[msg.sender], value);
    balanceOf[msg.sender] -= value; balanceOf[to] += value;
    emit Transfer(msg.sender, to, value);
    return true;
  }
  function fail() external pure { require(false, "no"); }
}`;

function compile() {
  const solc = createRequire(import.meta.url)('solc');
  const input = {
    language: 'Solidity',
    sources: { 'Token.sol': { content: SOURCE } },
    settings: { evmVersion: 'cancun', outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object'] } } },
  };
  const { contracts, errors } = JSON.parse(solc.compile(JSON.stringify(input)));
  assert.ok(contracts, JSON.stringify(errors));
  const { abi, evm } = contracts['Token.sol'].Token;
  return { abi, bytecode: `0x${evm.bytecode.object}` };
}

async function mined(hash) {
  const receipt = await reader.waitForTransactionReceipt({ hash });
  assert.equal(receipt.transactionHash, hash);
  return receipt;
}

// A plain transfer, by EIP-1559 and as a legacy transaction.
assert.equal(await reader.getChainId(), 31337);
const before = await reader.getBalance({ address: bob.address });
const plain = await mined(await wallet.sendTransaction({ to: bob.address, value: parseEther('1') }));
assert.equal(plain.status, 'success');
assert.equal(plain.gasUsed, 21000n);
assert.equal(plain.type, 'eip1559');
const legacy = await mined(await wallet.sendTransaction({ to: bob.address, value: 5n, gasPrice: parseGwei('3') }));
assert.equal(legacy.type, 'legacy');
assert.equal(await reader.getBalance({ address: bob.address }), before + parseEther('1') + 5n);
assert.equal(await reader.getTransactionCount({ address: alice.address }), 2);
const block = await reader.getBlock({ blockNumber: plain.blockNumber, includeTransactions: true });
assert.equal(block.transactions[0].hash, plain.transactionHash);
assert.equal((await reader.getFeeHistory({ blockCount: 2, rewardPercentiles: [50] })).baseFeePerGas.length, 3);

// A contract: deployed, called, its logs and errors read.
const { abi, bytecode } = compile();
const deployed = await mined(await wallet.deployContract({ abi, bytecode, args: [1000n] }));
const token = getContract({ address: deployed.contractAddress, abi, client: { public: reader, wallet } });
assert.equal(await token.read.name(), 'Proof');
const heard = [];
const socket = createPublicClient({ chain, transport: webSocket(ws) });
const heads = [];
const stopHeads = socket.watchBlocks({ onBlock: (head) => heads.push(head.number) });
const stopLogs = socket.watchContractEvent({ address: token.address, abi, eventName: 'Transfer', onLogs: (logs) => heard.push(...logs) });
const pending = [];
const stopPending = socket.watchPendingTransactions({ onTransactions: (hashes) => pending.push(...hashes) });
await new Promise((resolve) => setTimeout(resolve, 200));
const moved = await mined(await token.write.transfer([bob.address, 40n]));
assert.equal(await token.read.balanceOf([bob.address]), 40n);
const logs = await reader.getContractEvents({ address: token.address, abi, eventName: 'Transfer', args: { to: bob.address }, fromBlock: 0n });
assert.deepEqual(logs.map((log) => log.args.value), [40n]);
await assert.rejects(token.simulate.transfer([bob.address, 10_000n], { account: alice }), /Short/);
await assert.rejects(token.read.fail(), /no/);
const estimated = await reader.estimateContractGas({ address: token.address, abi, functionName: 'transfer', args: [bob.address, 1n], account: alice });
assert.ok(estimated >= 30_000n && estimated < 60_000n, `${estimated}`);
const failing = await mined(await wallet.sendTransaction({
  to: token.address, gas: 100_000n, data: encodeFunctionData({ abi, functionName: 'transfer', args: [bob.address, 10_000n] }),
}));
assert.equal(failing.status, 'reverted');
const trace = await reader.request({ method: 'debug_traceTransaction', params: [moved.transactionHash, { tracer: 'callTracer' }] });
assert.equal(trace.to.toLowerCase(), token.address.toLowerCase());
const proof = await reader.getProof({ address: token.address, storageKeys: [`0x${'0'.repeat(64)}`] });
assert.ok(proof.accountProof.length > 0);
const past = await reader.readContract({ address: token.address, abi, functionName: 'balanceOf', args: [bob.address], blockNumber: deployed.blockNumber });
assert.equal(past, 0n);
for (let turn = 0; turn < 50 && (heard.length < 1 || heads.length < 2 || pending.length < 2); turn += 1) {
  await new Promise((resolve) => setTimeout(resolve, 100));
}
assert.deepEqual(heard.map((log) => log.args.value), [40n]);
assert.ok(heads.includes(moved.blockNumber), `${heads}`);
assert.ok(pending.includes(moved.transactionHash));
[stopHeads, stopLogs, stopPending].forEach((stop) => stop());

// EIP-7702: bob's account runs the token's code for one call.
const authorization = await createWalletClient({ account: bob, chain, transport }).signAuthorization({ contractAddress: token.address });
const delegated = await mined(await wallet.sendTransaction({ to: bob.address, authorizationList: [authorization], data: encodeFunctionData({ abi, functionName: 'name' }) }));
assert.equal(delegated.type, 'eip7702');
assert.equal(delegated.status, 'success');
assert.ok((await reader.getCode({ address: bob.address })).startsWith('0xef0100'));

// Refusals are those that viem knows.
await assert.rejects(wallet.sendTransaction({ to: alice.address, nonce: 0, value: 1n }), /nonce/i);
await assert.rejects(wallet.sendTransaction({ to: alice.address, value: parseEther('1000000') }), /insufficient funds|exceeds the balance/i);

// Accounts that nobody has the key of, a contract among them, send in their own name.
const stranger = '0x00000000000000000000000000000000000000Ab';
await tester.setBalance({ address: stranger, value: parseEther('2') });
await assert.rejects(createWalletClient({ account: stranger, chain, transport }).sendTransaction({ to: bob.address, value: 1n }));
await tester.setBalance({ address: token.address, value: parseEther('2') });
for (const address of [stranger, token.address]) {
  await tester.impersonateAccount({ address });
  const sent = await mined(await createWalletClient({ account: address, chain, transport }).sendTransaction({ to: '0x00000000000000000000000000000000000000aa', value: parseEther('1') }));
  assert.equal(sent.status, 'success');
  assert.equal(sent.from.toLowerCase(), address.toLowerCase());
  assert.equal((await reader.getTransaction({ hash: sent.transactionHash })).from.toLowerCase(), address.toLowerCase());
  await reader.request({ method: 'debug_traceTransaction', params: [sent.transactionHash, { tracer: 'callTracer' }] });
  await tester.stopImpersonatingAccount({ address });
}

// What a developer asks of a local chain.
const snapshot = await tester.snapshot();
await tester.setBalance({ address: bob.address, value: 7n });
assert.equal(await reader.getBalance({ address: bob.address }), 7n);
await tester.setStorageAt({ address: token.address, index: 9, value: `0x${'0'.repeat(63)}3` });
assert.equal(BigInt(await reader.getStorageAt({ address: token.address, slot: '0x9' })), 3n);
const { number, timestamp } = await reader.getBlock();
await tester.mine({ blocks: 3 });
assert.equal((await reader.getBlock()).number, number + 3n);
const later = (await reader.getBlock()).timestamp + 1000n;
await tester.setNextBlockTimestamp({ timestamp: later });
await tester.mine({ blocks: 1 });
assert.equal((await reader.getBlock()).timestamp, later);
await tester.setAutomine(false);
const waiting = await wallet.sendTransaction({ to: '0x00000000000000000000000000000000000000aa', value: 1n });
assert.equal(await reader.getTransactionReceipt({ hash: waiting }).catch(() => null), null);
assert.equal(await reader.getTransactionCount({ address: alice.address, blockTag: 'pending' }), await reader.getTransactionCount({ address: alice.address }) + 1);
await tester.mine({ blocks: 1 });
assert.equal((await mined(waiting)).status, 'success');
await tester.setAutomine(true);
await tester.revert({ id: snapshot });
assert.equal((await reader.getBlock()).number, number);
assert.ok((await reader.getBlock()).timestamp === timestamp);
assert.notEqual(await reader.getBalance({ address: bob.address }), 7n);
process.exit(0);
