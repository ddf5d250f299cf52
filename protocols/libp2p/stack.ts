/** What every connection of ours is made of: TCP, TLS 1.3, yamux. Why TLS: docs/decisions/0005-encrypter.md. */
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import type { ComponentLogger, Logger } from '@libp2p/interface'
import type { Libp2pOptions } from 'libp2p'
import { DIAL_MS_MAX, FRAME_BYTES_MAX, IN_FLIGHT_BYTES_MAX } from '../limits.ts'
import { joiningTls } from './encrypter.ts'

/** The window of one stream grows to this: 1 Gbit/s at 130 ms. */
const WINDOW_BYTES_MAX = IN_FLIGHT_BYTES_MAX
/**
 * A reader that pauses still gets what is in the window; yamux aborts a stream whose buffer is smaller than that
 * (its defaults are).
 */
const READ_BUFFER_BYTES_MAX = WINDOW_BYTES_MAX + 4 * FRAME_BYTES_MAX
/** Writers stop when they are told to; this is for one that does not: a full queue of the largest frames. */
const WRITE_BUFFER_BYTES_MAX = 128 * FRAME_BYTES_MAX
/** One address of several may be a black hole; the others must have their turn before the dial is over. */
const ADDRESS_DIAL_MS_MAX = 3_000

/** libp2p logs each frame it handles; formatting that costs more than handling it. Ours says what matters itself. */
const silent: Logger = Object.assign(() => {}, {
  error: () => {},
  trace: () => {},
  enabled: false,
  newScope: () => silent,
})
const logger: ComponentLogger = { forComponent: () => silent }

export const stack = {
  logger,
  transports: [tcp()],
  connectionEncrypters: [joiningTls()],
  streamMuxers: [
    yamux({
      streamOptions: {
        maxStreamWindowSize: WINDOW_BYTES_MAX,
        maxReadBufferLength: READ_BUFFER_BYTES_MAX,
        maxWriteBufferLength: WRITE_BUFFER_BYTES_MAX,
      },
    }),
  ],
  // Its pings share a queue with bulk bytes, and would end a connection because it is busy (see round-trips.ts).
  connectionMonitor: { enabled: false },
} satisfies Libp2pOptions

export const connectionManager = {
  dialTimeout: DIAL_MS_MAX,
  addressDialTimeout: ADDRESS_DIAL_MS_MAX,
  inboundUpgradeTimeout: DIAL_MS_MAX,
  // Many peers of one site come from one address when they are behind a NAT, and all at once after a power cut.
  inboundConnectionThreshold: 32,
  maxIncomingPendingConnections: 64,
  maxConnections: 1_024,
} satisfies Libp2pOptions['connectionManager']
