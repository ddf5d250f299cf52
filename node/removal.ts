/**
 * Removed peers, and how one of them learns that it is one. Its guests go on under their grants: a removal ends none.
 *
 *   peer ──its own log of the mesh says so, or a peer that hung up on it (protocols/removal/)──▶ removed
 *     ◀──its own log is further than that, and has it as a peer: it was admitted again, and who told it was behind──┘
 *
 * A removed peer is not ready and refuses whatever would change something. It stands for nothing that it could win, and what
 * it says nobody hears: every gate refuses it. Nothing of that is written down, because a log that is still being caught up
 * with after a second `join` goes through the removal, too. Only who left by its own wish stops, and begins no other life.
 */
import { describeFailure, type Failure } from '../protocols/errors.ts'
import type { Clock } from '../protocols/clock.ts'
import type { PeerId } from '../protocols/ids.ts'
import type { Outcome } from '../protocols/outcome.ts'
import { PROTOCOL, removed as removedMessage, type Removed } from '../protocols/removal/messages.ts'
import type { Transport } from '../protocols/transport.ts'
import type { Journal } from '../storage/journal.ts'
import { type Identity, leftOp } from '../storage/records.ts'
import type { Store } from '../storage/store.ts'
import type { Agreement } from './agreement.ts'
import type { MeshState } from './catalog/mesh.ts'

/** What is known of the end of this peer's admission. */
type Removal = { readonly atMs: number; readonly by: string }

type Around = {
  readonly agreement: Pick<Agreement, 'mesh'>
  /** It was its own wish, is on disk, and its peer had better stop. */
  left(): void
  /** It was not, and somebody should be told. */
  removed(text: string): void
}

type Ports = {
  readonly clock: Clock
  readonly store: Store
  readonly journal: Pick<Journal, 'append'>
  readonly transport: Transport
}

/** Where one log of the mesh is against another. */
type Position = { readonly generation: number; readonly index: number }

const isAhead = (one: Position, other: Position): boolean =>
  one.generation > other.generation || (one.generation === other.generation && one.index > other.index)

/** By the log, or by what the peer was told while its log is not as far as that. */
export function removalOf(
  { peers, removed = {} }: Pick<MeshState, 'peers' | 'removed'>,
  self: PeerId,
  own: Position,
  told: Removed | undefined,
): Removal | undefined {
  const agreed = peers[self] === undefined ? removed[self] : undefined
  if (agreed !== undefined) return { atMs: agreed.atMs, by: nameIn(peers, removed, agreed.by) }
  if (told === undefined || !isAhead(told, own)) return undefined
  return { atMs: told.atMs, by: told.by }
}

/** What each removed peer is told, should it dial. */
export function farewells(
  { peers, removed = {} }: Pick<MeshState, 'peers' | 'removed'>,
  position: Position,
): ReadonlyMap<PeerId, Uint8Array> {
  const parted = Object.values(removed).filter(({ id }) => peers[id] === undefined)
  return new Map(
    parted.map(({ id, atMs, by }) => [
      id,
      removedMessage.encode({ ...position, atMs, by: nameIn(peers, removed, by) }),
    ]),
  )
}

export class Removals {
  readonly #identity: Identity
  readonly #ports: Ports
  readonly #around: () => Around
  #told: Removed | undefined
  /** `leave` was typed here: the peer ends by its own wish. */
  #leaves = false
  #isWritten = false
  #isSaid = false

  constructor(identity: Identity, ports: Ports, around: () => Around) {
    this.#identity = identity
    this.#ports = ports
    this.#around = around
    ports.transport.serve(PROTOCOL, {
      frame: (_from, frame) => {
        const told = removedMessage.decode(frame)
        if (this.#told === undefined || isAhead(told, this.#told)) this.#told = told
        this.look()
      },
    })
  }

  /** Why this peer may change nothing; undefined while it is one of the mesh. */
  failure(): Failure | undefined {
    const found = this.#found()
    if (found === undefined) return undefined
    const { atMs, by } = found
    return { code: 'REMOVED', by, at: new Date(atMs).toISOString(), site: this.#identity.siteName }
  }

  /** For people; undefined while it is one of the mesh. */
  text(): string | undefined {
    const failure = this.failure()
    return failure && describeFailure(failure)
  }

  /** This peer is about to ask for its own removal: it stops when that is agreed on. */
  leaves(): void {
    this.#leaves = true
  }

  /** The mesh has agreed on something, or this peer was told something. */
  look(): void {
    const { agreement } = this.#around()
    const { transport } = this.#ports
    transport.part(PROTOCOL, farewells(agreement.mesh.state, positionOf(agreement)))
    const found = this.#found()
    if (found === undefined) {
      this.#isSaid = false
      return
    }
    if (this.#leaves) this.#left()
    else this.#say()
  }

  /** What came of it. */
  answered(outcome: Outcome<unknown>): void {
    if (outcome.ok) this.#left()
    // Otherwise it may still come about.
    else if (outcome.failure.code !== 'OUTCOME_UNKNOWN') this.#leaves = false
  }

  /** The mesh has agreed to this peer's own wish: its next life must not begin as if it were one of it. */
  #left(): void {
    if (this.#isWritten) return
    this.#isWritten = true
    const { clock, store } = this.#ports
    store.write([leftOp(this.#identity.mesh, clock.wallMs())], true, () => this.#around().left())
  }

  #found(): ReturnType<typeof removalOf> {
    const { agreement } = this.#around()
    return removalOf(agreement.mesh.state, this.#identity.peer, positionOf(agreement), this.#told)
  }

  #say(): void {
    const text = this.text()
    if (this.#isSaid || text === undefined) return
    this.#isSaid = true
    const atMs = this.#ports.clock.wallMs()
    this.#ports.journal.append({ atMs, kind: 'mesh', subject: this.#identity.peerName, text })
    this.#around().removed(text)
  }
}

const positionOf = ({ mesh }: Pick<Agreement, 'mesh'>): Position => ({
  generation: mesh.generation,
  index: mesh.appliedIndex,
})

const nameIn = (
  peers: MeshState['peers'],
  removed: NonNullable<MeshState['removed']>,
  peer: PeerId | undefined,
): string => (peer === undefined ? '' : (peers[peer]?.name ?? removed[peer]?.name ?? peer.slice(-8)))
