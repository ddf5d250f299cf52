/** One peer of such a mesh: the asking and the answering half of following, on a disk that a crash leaves as it was. */
import * as follower from '../../protocols/follow/follower.ts'
import { followAnswer, followAsk, type Answer, type Position } from '../../protocols/follow/messages.ts'
import * as source from '../../protocols/follow/source.ts'
import { NOBODY } from '../../protocols/raft/configuration.ts'
import type { Entry, Snapshot } from '../../protocols/raft/types.ts'
import { Violation } from '../scenario.ts'
import type { Mesh } from './mesh.ts'

const GROUP = 'mesh'
const CLUSTER = '01JZ0000000000000000000002'
/** Small, so that a snapshot has many parts. */
const PART_BYTES = 64

/** What one peer has on its disk. */
type Disk = {
  generation: number
  log: { base: Base; entries: Entry[]; applied: number }
  snapshot: Snapshot
}
type Base = { readonly index: number; readonly term: number }

export class Peer {
  readonly id: string
  readonly site: number
  readonly mesh: Mesh
  member: boolean
  up = false
  disk: Disk = {
    generation: 0,
    log: { base: { index: 0, term: 0 }, entries: [], applied: 0 },
    snapshot: first(),
  }
  follower!: follower.Follower
  source!: source.Source
  #life = 0
  #token = 0
  readonly #replies = new Map<number, (answer: Answer) => void>()

  constructor(mesh: Mesh, n: number, site: number, member: boolean) {
    this.id = ('abcdefghijkmnopqrstuvwxyz'[n] as string).repeat(16)
    this.mesh = mesh
    this.site = site
    this.member = member
  }

  start(): void {
    this.up = true
    this.mesh.world.say(`${this.#name} starts at ${said(this.position)}`)
    this.#begin()
    const life = ++this.#life
    const beat = (): void => {
      if (life !== this.#life || !this.up) return
      this.#look()
      this.mesh.world.after(200 + this.mesh.dice.below(100), beat)
    }
    beat()
    if (this.member) this.catchUp()
  }

  /** New cores on what is on the disk. */
  #begin(): void {
    this.source = source.newSource(CLUSTER, GROUP, PART_BYTES)
    this.follower = follower.newFollower(this.id, CLUSTER, GROUP, this.position)
    this.#replies.clear()
  }

  crash(): void {
    this.up = false
    this.#life++
    this.mesh.world.say(`${this.#name} ends`)
  }

  /** A letter is enough to tell it from others. */
  get #name(): string {
    return this.id.slice(0, 1)
  }

  get position(): Position {
    return { generation: this.disk.generation, index: this.disk.log.applied }
  }

  /** A member gets what is committed, some time. */
  catchUp(): void {
    const life = this.#life
    this.mesh.world.after(this.mesh.dice.below(300), () => {
      const { mesh, disk } = this
      if (life !== this.#life || !this.up || !this.member) return
      if (disk.generation !== mesh.generation) return
      if (disk.log.applied < mesh.generationIndex) return
      this.#append(mesh.truth.slice(disk.log.applied))
      this.#look()
    })
  }

  /** Makes a snapshot, and forgets all but `kept` entries. */
  compact(kept: number): void {
    const { log } = this.disk
    // Of a generation that is over the truth has only a part.
    if (log.applied === 0 || this.disk.generation !== this.mesh.generation) return
    this.disk.snapshot = snapshotAt(this.mesh.truth, log.applied)
    const to = Math.max(log.base.index, log.applied - kept)
    if (to === log.base.index) return
    const base = log.entries[to - log.base.index - 1] as Entry
    log.entries = log.entries.slice(to - log.base.index)
    log.base = base
    this.mesh.count('compacted')
  }

  #look(): void {
    const { mesh } = this
    const candidates = mesh.peers
      .filter((each) => each !== this)
      .map((each) => ({
        peer: each.id,
        near: each.site === this.site,
        member: each.member,
        connected: mesh.reach(this, each),
        rttMs: each.site === this.site ? 1 : 40 * Math.abs(each.site - this.site),
      }))
    this.#feed({ kind: 'wanted', wanted: !this.member || this.disk.generation !== mesh.generation })
    this.#feed({ kind: 'candidates', candidates })
    this.#feed({ kind: 'tick' })
    this.#serve({ kind: 'look' })
    if (this.member && this.disk.log.applied < mesh.truth.length) this.catchUp()
  }

  #feed(event: follower.Event): void {
    for (const effect of follower.step(this.follower, event, this.mesh.world.nowMs)) this.#perform(effect)
  }

  #perform(effect: follower.Effect): void {
    switch (effect.kind) {
      case 'ask':
        return this.#ask(effect)
      case 'entries':
        return this.#later(() => {
          if (this.#isNext(effect.entries[0]?.index)) this.#append(effect.entries)
        })
      case 'snapshot':
        return this.#later(() => this.#install(effect.generation, effect.snapshot))
      case 'blame':
        throw new Violation('nobody is blamed', `${this.id} blames ${effect.peer}: ${effect.why}`)
    }
  }

  /** On its way to the disk; a crash may come first. */
  #later(run: () => void): void {
    const life = this.#life
    this.mesh.world.after(this.mesh.dice.below(20), () => {
      if (life !== this.#life) return
      run()
      this.#feed({ kind: 'position', position: this.position })
      this.#serve({ kind: 'look' })
    })
  }

  #append(entries: readonly Entry[]): void {
    const { log, generation } = this.disk
    const { mesh } = this
    for (const entry of entries) {
      if (entry.index !== log.applied + 1)
        throw new Violation('each once', `${this.id} is at ${log.applied} and was given entry ${entry.index}`)
      if (generation === mesh.generation) mesh.checkEntry(this.id, entry)
      log.entries.push(entry)
      log.applied = entry.index
      mesh.world.say(`${this.#name} holds ${said(this.position)}`)
    }
    if (mesh.dice.chance(0.1)) this.compact(mesh.dice.below(mesh.kept))
  }

  /** A member may have heard its leader meanwhile; what it holds then is not taken again. */
  #isNext(index: number | undefined): boolean {
    return !this.member || index === this.disk.log.applied + 1
  }

  #install(generation: number, snapshot: Snapshot): void {
    const { disk, mesh } = this
    const isNewer =
      generation > disk.generation || (generation === disk.generation && snapshot.index > disk.log.applied)
    if (this.member && !isNewer) return
    if (!isNewer) {
      const at = `${this.id} is at ${disk.generation}.${disk.log.applied}`
      throw new Violation('never back', `${at} and was given a snapshot of ${generation}.${snapshot.index}`)
    }
    if (generation === mesh.generation) mesh.checkSnapshot(this.id, snapshot)
    mesh.count(generation > disk.generation ? 'snapshot of a newer generation' : 'snapshot')
    this.disk = {
      generation,
      log: { base: { index: snapshot.index, term: snapshot.term }, entries: [], applied: snapshot.index },
      snapshot,
    }
    mesh.world.say(`${this.#name} holds a snapshot of ${said(this.position)}`)
    this.source = source.newSource(CLUSTER, GROUP, PART_BYTES)
    this.#replies.clear()
  }

  #ask({ to, serial, ask, timeoutMs }: follower.Effect & { kind: 'ask' }): void {
    const { mesh } = this
    const { world, dice } = mesh
    const life = this.#life
    const there = mesh.peers.find(({ id }) => id === to) as Peer
    if (ask.snapshot !== undefined && ask.snapshot.offset > 0 && to !== this.follower.source)
      mesh.count('resumed elsewhere')
    let over = false
    const end = (event: follower.Event): void => {
      if (over) return
      over = true
      if (life === this.#life) this.#feed(event)
    }
    const delay = (): number => (this.site === there.site ? 1 : 40) + dice.below(20)
    world.after(timeoutMs, () => end({ kind: 'failed', serial }))
    if (!mesh.reach(this, there)) return void world.after(delay(), () => end({ kind: 'failed', serial }))
    if (dice.chance(mesh.loss)) return
    const frame = followAsk.encode(ask)
    world.after(delay(), () => {
      if (!mesh.reach(this, there)) return
      there.hear(this.id, frame, (answer) => {
        if (!mesh.reach(this, there) || dice.chance(mesh.loss)) return
        const back = followAnswer.encode(answer)
        world.after(delay(), () => {
          const told = followAnswer.decode(back)
          mesh.count(told.kind === 'nothing' ? told.why : told.kind)
          if (told.kind !== 'nothing' && this.site !== there.site && !this.member) mesh.count('crossed')
          end({ kind: 'answer', serial, answer: told })
        })
      })
    })
  }

  hear(from: string, frame: Uint8Array, reply: (answer: Answer) => void): void {
    const token = ++this.#token
    const ask = followAsk.decode(frame)
    this.#replies.set(token, reply)
    if (!this.member) this.#feed({ kind: 'heard', position: ask })
    this.#serve({ kind: 'ask', token, from, ask })
  }

  #serve(event: source.Event): void {
    const { disk, mesh } = this
    const inTouch = this.member && disk.generation === mesh.generation
    const standing = inTouch
      ? { term: 1, leader: this.id, ageMs: 0, path: [] }
      : {
          term: 1,
          leader: '',
          ageMs: Math.min(2 ** 52, Math.round(follower.ageMs(this.follower, mesh.world.nowMs))),
          path: follower.pathOf(this.follower),
        }
    const { generation, log, snapshot } = disk
    for (const { token, answer } of source.step(
      this.source,
      event,
      { generation, log, snapshot, standing },
      mesh.world.nowMs,
    )) {
      this.#replies.get(token)?.(answer)
      this.#replies.delete(token)
    }
  }
}

const said = ({ generation, index }: Position): string => `${generation}.${index}`

function first(): Snapshot {
  return { index: 0, term: 0, configuration: NOBODY, data: new Uint8Array() }
}

/** The state at an index: which entries made it, as bytes of some length. */
export function snapshotAt(truth: readonly Entry[], index: number): Snapshot {
  const made = truth.slice(0, index).map(({ data }) => data)
  const data = Uint8Array.from(Buffer.concat(made)).slice(-300)
  return { index, term: (truth[index - 1] as Entry).term, configuration: NOBODY, data }
}
