// starknet.js takes the WebSocket of the platform, and looks at it once, while it is loaded. Node has one from version 22 on.

import { WebSocket } from 'ws';

globalThis.WebSocket ??= WebSocket;
