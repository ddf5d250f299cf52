/** The broadcast port over gossipsub. Messages are signed by their author; a verdict is given before they go on. */
import {
  gossipsub,
  StrictSign,
  TopicValidatorResult,
  type GossipSub,
  type GossipSubComponents,
  type Message,
} from '@libp2p/gossipsub'
import type { PeerId as Libp2pPeerId } from '@libp2p/interface'
import type { Broadcast, Verdict } from '../broadcast.ts'
import type { PeerId } from '../ids.ts'
import { FRAME_BYTES_MAX, GOSSIP_BYTES_MAX } from '../limits.ts'
import type { Gate } from './gate.ts'

/** One bad frame hurts little; at the third a peer is not gossiped to, at the twentieth it is not heard. */
const SCORE_OF_BAD_FRAME = -4
const SILENT_MS = 10_000

const RESULTS: Readonly<Record<Verdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
}

export const gossip = (gate: Gate): ((components: GossipSubComponents) => GossipSub) =>
  gossipsub({
    globalSignaturePolicy: StrictSign,
    emitSelf: false,
    fallbackToFloodsub: false,
    // Flooding sends what a peer says to every subscriber it is connected with; telemetry has no need of it.
    floodPublish: false,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    doPX: false,
    // Through a relay as well.
    runOnLimitedConnection: true,
    // Small meshes: 3 to 30 peers on a topic. Full degree 5 reaches 30 peers in three hops.
    D: 5,
    Dlo: 3,
    Dhi: 8,
    Dlazy: 5,
    Dscore: 3,
    Dout: 1,
    heartbeatInterval: 700,
    pruneBackoff: SILENT_MS,
    // One RPC may carry several messages that were asked for; each is held to GOSSIP_BYTES_MAX on its own.
    maxInboundDataLength: FRAME_BYTES_MAX,
    maxOutboundBufferSize: 4 * FRAME_BYTES_MAX,
    maxTopicBytesPerPeer: 256 * 1024,
    scoreParams: {
      appSpecificScore: (peer) => SCORE_OF_BAD_FRAME * gate.badFrames(peer),
      appSpecificWeight: 1,
      // A whole site may be behind one address.
      IPColocationFactorWeight: 0,
    },
  })

export class GossipBroadcast implements Broadcast {
  readonly #gossip: GossipSub
  readonly #gate: Gate
  readonly #blame: (peer: PeerId, why: string) => void
  readonly #log: (line: string) => void

  constructor(options: {
    gossip: GossipSub
    gate: Gate
    blame: (peer: PeerId, why: string) => void
    log: (line: string) => void
  }) {
    this.#gossip = options.gossip
    this.#gate = options.gate
    this.#blame = options.blame
    this.#log = options.log
  }

  publish(topic: string, frame: Uint8Array): void {
    if (frame.length > GOSSIP_BYTES_MAX)
      return this.#log(`${topic}: a frame of ${frame.length} B was not published`)
    this.#gossip
      .publish(topic, frame)
      .catch((error: unknown) => this.#log(`${topic}: not published, ${String(error)}`))
  }

  subscribe(topic: string, handler: (from: PeerId, frame: Uint8Array) => Verdict): void {
    // In libp2p's own validator, so that the verdict comes before a message is passed on.
    this.#gossip.topicValidators.set(
      topic,
      (hop, message) => RESULTS[this.#judge(topic, handler, hop, message)],
    )
    this.#gossip.subscribe(topic)
  }

  #judge(
    topic: string,
    handler: (from: PeerId, frame: Uint8Array) => Verdict,
    hop: Libp2pPeerId,
    message: Message,
  ): Verdict {
    if (message.type !== 'signed') return 'reject'
    const from = message.from.toString()
    // Who was removed may still be relayed by a peer that has not heard of it.
    if (!this.#gate.admits(from)) return 'ignore'
    const verdict = message.data.length > GOSSIP_BYTES_MAX ? 'reject' : handler(from, message.data)
    // Every peer judges before it passes on, so who passes on what is to be rejected is at fault, too.
    if (verdict === 'reject') this.#blame(hop.toString(), `${topic}: rejected`)
    return verdict
  }
}
