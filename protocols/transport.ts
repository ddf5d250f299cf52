/**
 * Port: what conversations need of a network between admitted peers.
 * Every implementation passes test/contracts/transport.ts.
 *
 * Nothing here throws or returns a promise: a call hands something over, and what comes of it comes back as a
 * callback, later. Peers that are not allowed (see `allow`) are never dialled and never heard.
 */
import type { PeerId } from './ids.ts'
import type { Done } from './outcome.ts'
import type { Bucket } from './rate/bucket.ts'
import type { Cap } from './rate/caps.ts'

export type Transport = {
  readonly self: PeerId

  /**
   * Hands one frame over and forgets it. Frames to one peer under one protocol arrive in order or not at all;
   * delivery is not promised: cores repeat what matters. Dials when there is no connection, unless told not to;
   * at most SEND_QUEUE_FRAMES_MAX frames wait for it, the oldest go first.
   */
  send(to: PeerId, protocol: string, frame: Uint8Array, options?: { dial?: boolean }): void

  /** One frame there, one frame back. Fails with PEER_UNREACHABLE, PEER_BUSY, TIMEOUT or what `answer` refused with. */
  request(to: PeerId, protocol: string, frame: Uint8Array, timeoutMs: number, done: Done<Uint8Array>): void

  /**
   * Opens a long-lived channel for bulk bytes, on a connection of its own where there is one to be had, so that
   * agreement never queues behind a disk.
   */
  open(to: PeerId, protocol: string, done: Done<Channel>): void

  /** Serves a protocol; a handler that is not given refuses that kind of conversation. One call per protocol. */
  serve(protocol: string, service: Service): void

  /** The peers that may be dialled and heard from now on, with addresses that are known for them. */
  allow(peers: ReadonlyMap<PeerId, readonly string[]>): void

  /**
   * Peers that are none any more: who of them connects is hung up on like every stranger, but is sent its frame first, once
   * in FAREWELL_AGAIN_MS. It hears it under `protocol` if it allows this peer.
   */
  part(protocol: string, farewells: ReadonlyMap<PeerId, Uint8Array>): void

  /** The caps on bulk from now on, in place of those before. Beside them, bulk yields to all else by itself. */
  shape(caps: readonly Cap[]): void

  /** Peers with a live connection, in order of their ids. */
  connected(): PeerId[]
  /** Called after a peer's first connection came up, and after its last went down. */
  watch(handler: (peer: PeerId, up: boolean) => void): void
  /** Smoothed round-trip time in ms to a connected peer, once measured. */
  rttMs(peer: PeerId): number | undefined
  /** How a connected peer is reached now: straight, or through another peer that relays. */
  path(peer: PeerId): Path | undefined
  /** The addresses under which others may reach this peer, as multiaddrs with its peer id. */
  addresses(): string[]
  /**
   * Frames that a decoder refused are told here: the sender is scored down, and cut off past a bound
   * (a bad frame costs its sender, not us).
   */
  blame(peer: PeerId, why: string): void
}

export type Path = 'direct' | 'relay'

export type Service = {
  readonly frame?: (from: PeerId, frame: Uint8Array) => void
  /** `reply` is called once, within the asker's patience; a failure travels back as it is. */
  readonly request?: (from: PeerId, frame: Uint8Array, reply: Done<Uint8Array>) => void
  readonly channel?: (from: PeerId, channel: Channel) => void
}

/** A two-way pipe of frames, in order, with back-pressure. */
export type Channel = {
  readonly peer: PeerId
  /**
   * One frame: `head`, then `payload`, which is not copied and is the channel's from now on: it must not change any more,
   * and one that was lent (buffers.ts) may be given back. False: full; stop until `onDrain`. The frame was taken all the same.
   */
  send(head: Uint8Array, payload?: Uint8Array): boolean
  onFrame(handler: (frame: Uint8Array) => void): void
  onDrain(handler: () => void): void
  /** Once, when either side closed or the link died; nothing comes after it. */
  onClose(handler: () => void): void
  close(): void
  /** Takes in no more than this allows from now on; channels that share it share what it allows. */
  limit(bucket: Bucket): void
  /** Bytes on the wire, framing included, encryption and TCP not. */
  sentBytes(): number
  receivedBytes(): number
}
