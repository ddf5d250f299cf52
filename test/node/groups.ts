/**
 * Peers that share one group, on virtual time: the product's own Group and Proposing on simulated stores, over a network
 * that the test makes bad. What is proposed are words, and what is agreed on is the order of them.
 */
import { Group } from '../../node/group.ts'
import type { Mend } from '../../node/opening.ts'
import { Proposing } from '../../node/proposing.ts'
import { codec } from '../../protocols/codec.ts'
import { ok, type Outcome } from '../../protocols/outcome.ts'
import type { Machine } from '../../protocols/raft/envelope.ts'
import { genesis } from '../../protocols/raft/genesis.ts'
import { memberOf, peerOf } from '../../protocols/raft/member.ts'
import { message as codecOf, type Message } from '../../protocols/raft/messages.ts'
import { list, optional, record, since, text } from '../../protocols/shape.ts'
import type { Random } from '../../simulator/random.ts'
import { SimStore } from '../../simulator/store.ts'
import { World } from '../../simulator/world.ts'
import { beginOps } from '../../storage/raft-log.ts'
import type { Op, Store } from '../../storage/store.ts'

export const GROUP = 'mesh'
const CLUSTER = '01JTESTTESTTESTTESTTESTTES'
export const peer = (n: number): string => `peer${n}`.repeat(4)

type Word = { word: string; mark?: string | undefined }
type Words = { words: string[] }
export const words: Machine<Words, Word> = {
  empty: () => ({ words: [] }),
  state: codec('words', record({ words: list(text(64), 1_000_000) }), 64 * 1024 ** 2),
  /** `mark` stands for what came with the first feature. */
  command: codec('word', record({ word: text(64), mark: since(1, optional(text(8))) })),
  apply: (state, { word, mark = '' }) => ok(state.words.push(word + mark)),
}

/** A store that may hang: writes neither fail nor finish until it goes on. */
class Hanging implements Store {
  readonly on: SimStore
  hangs = false
  /** Batches, as the group handed them over. */
  readonly batches: (readonly Op[])[] = []
  #late: (() => void)[] = []

  constructor(on: SimStore) {
    this.on = on
  }

  recovered(prefix: string): ReturnType<Store['recovered']> {
    return this.on.recovered(prefix)
  }

  write(...args: Parameters<Store['write']>): void {
    this.batches.push(args[0])
    if (this.hangs || this.#late.length > 0) this.#late.push(() => this.on.write(...args))
    else this.on.write(...args)
  }

  resume(): void {
    this.hangs = false
    for (const write of this.#late.splice(0)) write()
  }
}

export class Host {
  readonly id: string
  readonly groups: Groups
  store: Hanging
  group!: Group<Words, Word>
  proposing!: Proposing
  up = false
  lives = 0
  /** What this host can say of a state whose newest entries are lost. */
  mend: Mend<Words> = () => undefined
  /** Feature level of the version that it runs. */
  known: number | undefined
  halts = 0
  /** Codes of failures when its disk stopped to take the log; undefined when it took it again. */
  readonly turns: (string | undefined)[] = []

  constructor(groups: Groups, id: string, first: readonly Op[]) {
    this.groups = groups
    this.id = id
    const found = new Map(first.flatMap((op) => (op.kind === 'put' ? [[op.key, op.value] as const] : [])))
    this.store = new Hanging(new SimStore(groups.world, id, found))
    this.start()
  }

  start(): void {
    const { world } = this.groups
    const life = ++this.lives
    this.up = true
    const clock = world.clock()
    const alive = {
      ...clock,
      after: (ms: number, run: () => void) => clock.after(ms, () => this.lives === life && this.up && run()),
    }
    const group: Host['group'] = new Group(
      {
        name: GROUP,
        cluster: CLUSTER,
        peer: this.id,
        mend: (...lost) => this.mend(...lost),
        ...(this.known !== undefined && { known: this.known }),
      },
      words,
      {
        clock: alive,
        dice: world.random(`${this.id}/${life}`),
        store: this.store,
        send: (message) => this.groups.carry(this, message),
      },
      {
        applied: () => {},
        restored: () => {},
        putAside: () => {},
        halted: () => void this.halts++,
        turned: (unwritable) => void this.turns.push(unwritable?.code),
        moved: () => {},
        role: (_role, leader) => alive.after(0, () => leader !== '' && this.proposing.leaderChanged()),
      },
    )
    this.group = group
    this.proposing = new Proposing(group, alive, (asked, timeoutMs, done) =>
      this.groups.reach(this, asked, timeoutMs, done),
    )
    group.start()
  }

  /** kill -9, or with `power` a power cut; what is under way is never answered. */
  crash(power = true): void {
    this.up = false
    if (power) this.store.on.crash()
  }

  restart(on: SimStore = this.store.on.reopen()): void {
    if (this.up) return
    this.store = new Hanging(on)
    this.start()
  }

  propose(word: string, done: (outcome: Outcome<unknown>) => void, mark?: string): void {
    this.proposing.propose(words.command.encode({ word, ...(mark !== undefined && { mark }) }), done)
  }

  get words(): readonly string[] {
    return this.group.state.words
  }
}

export class Groups {
  readonly world: World
  readonly hosts: Host[]
  readonly #random: Random
  loss = 0
  /** Peers that nobody hears and that hear nobody. */
  readonly cut = new Set<string>()
  /** Looks at every message that leaves. */
  watch: (from: Host, message: Message) => void = () => {}

  constructor(seed: number, count: number) {
    this.world = new World(seed)
    this.#random = this.world.random('network')
    const members = Array.from({ length: count }, (_, n) => memberOf(peer(n + 1), 'first'))
    this.hosts = members.map(
      (member) =>
        new Host(this, peerOf(member), beginOps(GROUP, { member, generation: 0 }, genesis(members))),
    )
  }

  host(id: string): Host | undefined {
    return this.hosts.find((each) => each.id === id)
  }

  get leader(): Host | undefined {
    return this.hosts.find(({ up, group, id }) => up && group.role === 'leader' && !this.cut.has(id))
  }

  carry(from: Host, message: Message): void {
    this.watch(from, message)
    const frame = codecOf.encode(message)
    this.#travel(from.id, peerOf(message.to), (to) => to.group.hear(codecOf.decode(frame)))
  }

  reach(
    from: Host,
    ...[asked, timeoutMs, done]: Parameters<ConstructorParameters<typeof Proposing>[2]>
  ): void {
    if (from.group.role === 'leader') return from.group.submit(asked, done)
    const { leader } = from.group
    if (leader === '' || leader === from.id)
      return done({ ok: false, failure: { code: 'NO_LEADER', group: GROUP, afterMs: 0 } })
    let over = false
    const end: typeof done = (outcome) => {
      if (over) return
      over = true
      done(outcome)
    }
    this.world.after(timeoutMs, () =>
      end({ ok: false, failure: { code: 'TIMEOUT', what: 'a proposal', afterMs: timeoutMs } }),
    )
    const life = from.lives
    this.#travel(from.id, leader, (to) =>
      to.group.submit(asked, (outcome) =>
        this.#travel(to.id, from.id, () => from.lives === life && end(outcome)),
      ),
    )
  }

  run(ms: number, check?: () => void): void {
    this.world.run(this.world.nowMs + ms, check)
  }

  /** Until it holds; false when it does not within `ms`. */
  until(holds: () => boolean, ms = 30_000): boolean {
    const endMs = this.world.nowMs + ms
    while (!holds() && this.world.nowMs < endMs) this.run(10)
    return holds()
  }

  #travel(from: string, to: string, arrive: (to: Host) => void): void {
    if (this.cut.has(from) || this.#random.chance(this.loss)) return
    this.world.after(5 + this.#random() * 15, () => {
      const host = this.host(to)
      if (host?.up === true && !this.cut.has(to)) arrive(host)
    })
  }
}
