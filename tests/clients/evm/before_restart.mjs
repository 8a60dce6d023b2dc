// Leaves a block, a token and its storage behind for after_restart.mjs.

import { writeFileSync } from 'node:fs';

import { accounts, clients, described, token } from './world.mjs';

const { open, wallet } = clients(described.rpc);
const [alice, bob] = accounts;
const { abi, bytecode } = token();
const landed = (hash) => open.waitForTransactionReceipt({ hash });
const { contractAddress } = await landed(await wallet(alice).deployContract({ abi, bytecode, args: [1_000n] }));
const call = { abi, address: contractAddress, functionName: 'transfer', args: [bob.address, 7n] };
const { transactionHash, blockHash } = await landed(await wallet(alice).writeContract(call));
writeFileSync(process.env.SEQUENZA_NOTES, JSON.stringify({ contractAddress, transactionHash, blockHash }));
