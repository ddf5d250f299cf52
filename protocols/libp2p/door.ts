/**
 * The door: where strangers ask to join. A small libp2p node of its own, on its own port, with the peer's identity and
 * nothing but the join protocol, so that who is not admitted never touches any other. Bounded in every way: few
 * connections, each short, few attempts a minute. Open until the last token expires (node decides). See
 * docs/decisions/0004-join-door.md.
 */
import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { decodeFailure, encodeFailure } from '../failure.ts'
import { failureOf, type Failure } from '../errors.ts'
import type { PeerId } from '../ids.ts'
import { DIAL_MS_MAX } from '../limits.ts'
import { failed, ok, type Done, type Outcome } from '../outcome.ts'
import {
  ADDRESSES_MAX,
  joinAnswer,
  joinHello,
  PROTOCOL,
  type JoinHello,
  type JoinWelcome,
} from '../join/messages.ts'
import type { Token } from '../join/token.ts'
import { packFrame } from './frames.ts'
import { loadPrivateKey } from './identity.ts'
import { readFrames } from './inbound.ts'
import { sendOn } from './line.ts'
import { listening } from './nat.ts'
import { reachable, startedOn } from './node.ts'
import { connectionManager, stack } from './stack.ts'

const CONNECTIONS_MAX = 8
/** Of those, from one address: one stranger must not fill the doorway. */
const CONNECTIONS_PER_ADDRESS_MAX = 4
/** Long enough for an entry of the mesh group behind a slow link; then the stranger is hung up on. */
const CONNECTION_MS_MAX = 10_000
const ATTEMPTS_PER_MINUTE_MAX = { address: 5, all: 30 }
const MINUTE_MS = 60_000

export type Door = {
  /** Multiaddrs with the peer id, for tokens; at most ADDRESSES_MAX. */
  addresses(): string[]
  close(): Promise<void>
}

export type DoorConfig = {
  readonly privateKey: Uint8Array
  readonly listen: readonly string[]
  readonly announce?: readonly string[]
  readonly handler: (from: PeerId, hello: JoinHello, remoteAddress: string, reply: Done<JoinWelcome>) => void
}

/** @throws GodwitError ADDRESS_IN_USE */
export async function openDoor({ privateKey, listen, announce = [], handler }: DoorConfig): Promise<Door> {
  const attempts = new Attempts()
  const open = new Map<string, number>()
  const libp2p = await startedOn(listen, () =>
    createLibp2p({
      ...stack,
      privateKey: loadPrivateKey(privateKey),
      addresses: { listen: [...listen], announce: [...announce], announceFilter: reachable },
      connectionManager: {
        ...connectionManager,
        maxConnections: CONNECTIONS_MAX,
        maxIncomingPendingConnections: CONNECTIONS_MAX,
      },
      connectionGater: { denyDialPeer: () => true },
      services: { listening },
    }),
  )
  libp2p.services.listening.confirm()
  libp2p.addEventListener('connection:open', ({ detail }) => limit(detail, open))
  await libp2p.handle(
    PROTOCOL,
    (stream, connection) => {
      const address = hostOf(connection.remoteAddr)
      const retryAfterMs = attempts.refuse(address, performance.now())
      const refusal: Failure | undefined =
        retryAfterMs > 0
          ? { code: 'RATE_LIMITED', what: 'join attempts', retryAfterMs: Math.ceil(retryAfterMs) }
          : undefined
      hear(stream, refusal, (hello, reply) =>
        handler(connection.remotePeer.toString(), hello, address, reply),
      )
    },
    { maxInboundStreams: 1 },
  )
  return {
    addresses: () => libp2p.getMultiaddrs().map(String).slice(0, ADDRESSES_MAX),
    close: async () => {
      await libp2p.stop()
    },
  }
}

/** Holds a connection to its time, and connections to their number; `open` counts them by address. */
function limit(connection: Connection, open: Map<string, number>): void {
  const address = hostOf(connection.remoteAddr)
  const count = (open.get(address) ?? 0) + 1
  open.set(address, count)
  const timer = setTimeout(() => connection.abort(new Error('too long at the door')), CONNECTION_MS_MAX)
  const closed = (): void => {
    const left = (open.get(address) ?? 1) - 1
    if (left > 0) open.set(address, left)
    else open.delete(address)
    clearTimeout(timer)
  }
  connection.addEventListener('close', closed, { once: true })
  const all = [...open.values()].reduce((sum, each) => sum + each, 0)
  if (count > CONNECTIONS_PER_ADDRESS_MAX || all > CONNECTIONS_MAX)
    connection.abort(new Error('too many at the door'))
}

/** One hello, one answer; anything else ends the stream. */
function hear(
  stream: Stream,
  refusal: Failure | undefined,
  ask: (hello: JoinHello, reply: Done<JoinWelcome>) => void,
): void {
  let heard = false
  const reply = (outcome: Outcome<JoinWelcome>): void => {
    sendOn(stream, packFrame(answerOf(outcome)))
    stream
      .close({ signal: AbortSignal.timeout(CONNECTION_MS_MAX) })
      .catch((error: Error) => stream.abort(error))
  }
  const onFrame = (frame: Uint8Array): void => {
    if (heard) return
    heard = true
    if (refusal !== undefined) return reply(failed(refusal))
    let hello: JoinHello
    try {
      hello = joinHello.decode(frame)
    } catch (error) {
      return reply(failed(failureOf(error)))
    }
    ask(hello, reply)
  }
  readFrames(stream, { onFrame, onBad: () => {} })
}

/** What fits: whom the joiner does not hear of here, it hears of from the mesh's log. */
function answerOf(outcome: Outcome<JoinWelcome>): Uint8Array {
  if (!outcome.ok) return joinAnswer.encode({ kind: 'refused', failure: encodeFailure(outcome.failure) })
  const peers = outcome.value.peers.map((peer) => ({
    ...peer,
    addresses: peer.addresses.slice(0, ADDRESSES_MAX),
  }))
  for (let count = peers.length; ; count = Math.floor(count / 2)) {
    try {
      return joinAnswer.encode({
        kind: 'welcome',
        welcome: { ...outcome.value, peers: peers.slice(0, count) },
      })
    } catch (error) {
      const failure = failureOf(error)
      if (count === 0 || failure.code !== 'FRAME_TOO_LARGE') return answerOf(failed(failure))
    }
  }
}

/** Attempts of the last minute, by remote address and in all. */
export class Attempts {
  #recent: { address: string; atMs: number }[] = []

  /** 0 and the attempt counts; else how long to wait. */
  refuse(address: string, nowMs: number): number {
    this.#recent = this.#recent.filter(({ atMs }) => atMs > nowMs - MINUTE_MS)
    const own = this.#recent.filter((attempt) => attempt.address === address)
    const { address: ownMax, all: allMax } = ATTEMPTS_PER_MINUTE_MAX
    const first = own.length >= ownMax ? own[0] : this.#recent.length >= allMax ? this.#recent[0] : undefined
    if (first !== undefined) return first.atMs + MINUTE_MS - nowMs
    this.#recent.push({ address, atMs: nowMs })
    return 0
  }
}

const hostOf = (address: Multiaddr): string => address.toString().split('/').slice(1, 3).join('/')

export type JoinRequest = {
  readonly token: Token
  readonly privateKey: Uint8Array
  readonly hello: JoinHello
  readonly timeoutMs: number
}

/** The joiner's side: dials the door that the token names, and proves the issuer's id by its key. */
export async function requestJoin({
  token,
  privateKey,
  hello,
  timeoutMs,
}: JoinRequest): Promise<Outcome<JoinWelcome>> {
  const startedMs = performance.now()
  const signal = AbortSignal.timeout(timeoutMs)
  const libp2p = await createLibp2p({
    ...stack,
    privateKey: loadPrivateKey(privateKey),
    connectionManager,
    connectionGater: { denyDialMultiaddr: () => false, denyInboundConnection: () => true },
  })
  try {
    const stream = await dialDoor(libp2p, token, signal)
    const addresses = hello.addresses.slice(0, ADDRESSES_MAX)
    return await answerTo(stream, joinHello.encode({ ...hello, addresses }), signal)
  } catch (error) {
    const failure = failureOf(error)
    if (failure.code !== 'INTERNAL' && failure.code !== 'IO') return failed(failure)
    return failed({
      code: 'PEER_UNREACHABLE',
      peer: token.issuer,
      afterMs: Math.round(performance.now() - startedMs),
    })
  } finally {
    await libp2p.stop()
  }
}

async function dialDoor(libp2p: Libp2p, token: Token, signal: AbortSignal): Promise<Stream> {
  // Whatever peer id an address names, the issuer's is the one that must answer.
  const addresses = token.addresses.map((address) =>
    multiaddr(`${address.replace(/\/p2p\/.*$/, '')}/p2p/${token.issuer}`),
  )
  const dialled = AbortSignal.any([signal, AbortSignal.timeout(DIAL_MS_MAX * Math.max(1, addresses.length))])
  const connection = await libp2p.dial(addresses, { signal: dialled })
  return connection.newStream(PROTOCOL, { signal })
}

function answerTo(stream: Stream, hello: Uint8Array, signal: AbortSignal): Promise<Outcome<JoinWelcome>> {
  return new Promise((resolve, reject) => {
    const onFrame = (frame: Uint8Array): void => {
      try {
        const answer = joinAnswer.decode(frame)
        resolve(answer.kind === 'welcome' ? ok(answer.welcome) : failed(decodeFailure(answer.failure)))
      } catch (error) {
        reject(error)
      }
    }
    readFrames(stream, { onFrame, onBad: (why) => reject(new Error(why)) })
    stream.addEventListener('close', () => reject(new Error('hung up')), { once: true })
    stream.addEventListener('end', () => reject(new Error('hung up')), { once: true })
    signal.addEventListener('abort', () => reject(new Error('no answer')), { once: true })
    stream.send(packFrame(hello))
  })
}
