/**
 * The leader of a group brings in, as learners, the peers that were admitted and are not in it. A peer that lost its log is
 * another member now; the learner that it was goes when the one that it is comes.
 */
import { MEMBER, memberAnswer, memberAsk } from '../protocols/ask/messages.ts'
import type { PeerId } from '../protocols/ids.ts'
import { REQUEST_MS } from '../protocols/limits.ts'
import { isVoter } from '../protocols/raft/configuration.ts'
import { type MemberId, peerOf } from '../protocols/raft/member.ts'
import type { SingleChange } from '../protocols/raft/types.ts'
import type { Transport } from '../protocols/transport.ts'
import type { Group } from './group.ts'

/** Peers that are asked for their member at once: a mesh that comes up is in within a few round trips. */
const ASKED_MAX = 8

type Into = Pick<Group<unknown, never>, 'name' | 'role' | 'status' | 'change'>

export class BringingIn {
  readonly #group: Into
  readonly #transport: Transport
  readonly #asked = new Set<PeerId>()
  /** Answers that wait for a change that is on. */
  readonly #members = new Map<PeerId, MemberId>()

  constructor(group: Into, transport: Transport) {
    this.#group = group
    this.#transport = transport
  }

  /** `peers` are to be in the group. Called again and again: who does not answer is asked again. */
  look(peers: readonly PeerId[]): void {
    if (this.#group.role !== 'leader') return this.#members.clear()
    const known = new Set(this.#sound().map(peerOf))
    for (const peer of peers.toSorted()) {
      if (known.has(peer)) this.#members.delete(peer)
      else if (!this.#members.has(peer)) this.#ask(peer)
    }
    this.#bring()
  }

  /** Members of which nobody need ask whether they are still what they were: voters, and who was heard lately. */
  #sound(): MemberId[] {
    const { configuration, progress } = this.#group.status()
    return progress
      .filter(({ peer, recentActive }) => recentActive || isVoter(configuration, peer))
      .map(({ peer }) => peer)
  }

  #ask(peer: PeerId): void {
    if (this.#asked.size >= ASKED_MAX || this.#asked.has(peer)) return
    this.#asked.add(peer)
    const frame = memberAsk.encode({ group: this.#group.name })
    this.#transport.request(peer, MEMBER, frame, REQUEST_MS, (outcome) => {
      this.#asked.delete(peer)
      if (!outcome.ok) return
      const { member } = memberAnswer.decode(outcome.value)
      if (peerOf(member) !== peer) return this.#transport.blame(peer, `a member of ${peerOf(member)}`)
      this.#members.set(peer, member)
      this.#bring()
    })
  }

  /** One change at a time is a rule of the group's; the next follows as soon as this one is applied. */
  #bring(): void {
    if (this.#group.role !== 'leader') return
    const { learners } = this.#group.status().configuration
    for (const [peer, member] of this.#members) {
      if (learners.includes(member)) {
        this.#members.delete(peer)
        continue
      }
      const lost = learners.filter((each) => peerOf(each) === peer)
      const changes: SingleChange[] = [
        ...lost.map((each) => ({ kind: 'remove-node' as const, peer: each })),
        { kind: 'add-learner-node', peer: member },
      ]
      return this.#group.change({ transition: 'auto', changes }, (outcome) => {
        if (outcome.ok) this.#bring()
      })
    }
  }
}
