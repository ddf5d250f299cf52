/** The shell around super-seeding of one image: sessions are its receivers. It lasts while somebody downloads from here. */
import type { Clock, Dice } from '../../protocols/clock.ts'
import type { PeerId } from '../../protocols/ids.ts'
import { PICK_MS } from '../../protocols/limits.ts'
import { decodeSection, type Section } from '../../protocols/swarm/have-map.ts'
import { encode } from '../../protocols/swarm/messages.ts'
import { chunkCount, type Manifest, readableChunkAt } from '../../storage/images/manifest.ts'
import { startSuperSeeding, type SuperSeeding } from './receivers.ts'
import type { Session } from './session.ts'
import { type Effect, type Event, step } from './super-seeding.ts'

type Around = {
  readonly clock: Clock
  readonly dice: Dice
  readonly siteOf?: ((peer: PeerId) => string | undefined) | undefined
}

export class Seeder {
  readonly #around: Around
  readonly #seeding: SuperSeeding
  readonly #sessions = new Map<number, Session>()
  readonly #keys = new Map<Session, number>()
  #keysUsed = 0
  #beating = false

  constructor(manifest: Manifest, around: Around) {
    const chunks = chunkCount(manifest)
    const indexes: number[] = []
    for (let index = 0; index < chunks; index++)
      if (readableChunkAt(manifest, index) !== undefined) indexes.push(index)
    this.#around = around
    this.#seeding = startSuperSeeding(
      { chunks, chunkBytes: manifest.chunkBytes },
      indexes,
      around.dice,
      around.clock.nowMs(),
    )
  }

  get idle(): boolean {
    return this.#sessions.size === 0
  }

  join(session: Session): void {
    const key = this.#keysUsed++
    this.#sessions.set(key, session)
    this.#keys.set(session, key)
    const { chunks } = this.#seeding
    const nothing = { from: 0, count: chunks, form: 'runs', data: new Uint8Array(0) } as const
    session.outbox.send(encode({ kind: 'have', total: chunks, ...nothing, gains: true }))
    this.#step({ kind: 'receiver', key, site: this.#around.siteOf?.(session.channel.peer) })
    if (!this.#beating) this.#beat()
  }

  /** False when it is no map of this image. */
  needsNot(session: Session, total: number, section: Section): boolean {
    const { from, count } = section
    if (total !== this.#seeding.chunks || from + count > total) return false
    const bits = decodeSection(section)
    this.#hear(session, (key) => ({
      kind: 'needs-not',
      key,
      from,
      count,
      bits,
      last: from + count === total,
    }))
    return true
  }

  gained(session: Session, indexes: readonly number[]): void {
    this.#hear(session, (key) => ({ kind: 'gained', key, indexes }))
  }

  byBlocks(session: Session): void {
    this.#hear(session, (key) => ({ kind: 'by-blocks', key }))
  }

  wanted(session: Session, indexes: readonly number[]): void {
    this.#hear(session, (key) => ({ kind: 'wanted', key, indexes }))
  }

  /** What a session asked for is not here after all. */
  lost(session: Session, index: number): void {
    if (this.#keys.has(session)) this.#step({ kind: 'lost', index })
  }

  leave(session: Session): void {
    const key = this.#keys.get(session)
    if (key === undefined) return
    this.#keys.delete(session)
    this.#sessions.delete(key)
    this.#step({ kind: 'gone', key })
  }

  #hear(session: Session, event: (key: number) => Event): void {
    const key = this.#keys.get(session)
    if (key !== undefined) this.#step(event(key))
  }

  #beat(): void {
    this.#beating = true
    this.#around.clock.after(PICK_MS, () => {
      this.#beating = false
      if (this.idle) return
      this.#step({ kind: 'tick' })
      this.#beat()
    })
  }

  #step(event: Event): void {
    for (const effect of step(this.#seeding, event, this.#around.clock.nowMs())) this.#perform(effect)
  }

  #perform(effect: Effect): void {
    const session = this.#sessions.get(effect.key)
    if (session === undefined) return
    session.outbox.send(encode({ kind: 'have-more', indexes: effect.indexes }))
  }
}
