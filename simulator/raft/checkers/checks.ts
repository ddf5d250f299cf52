/** Tells the rows what changed, after every event: numbers are compared, and only what differs is looked at. */
import * as logs from '../../../protocols/raft/log.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import type { Entry, Recovered } from '../../../protocols/raft/types.ts'
import type { Look } from './look.ts'
import { before } from './look.ts'
import { broken, type Checker, type Hooks } from './checker.ts'
import type { Healing } from './liveness.ts'
import { CHECKERS } from './rows.ts'
import { type Scene } from './truth.ts'

type Named = { readonly [K in keyof Hooks]-?: NonNullable<Hooks[K]>[] }

export class Checks {
  readonly #scene: Scene
  readonly #hooks: Named
  /** What is looked at in full soon: at commits, elections and faults. */
  #due = false

  constructor(scene: Scene, rows: readonly Checker[] = CHECKERS) {
    this.#scene = scene
    const made = rows.map((row) => row.make(scene, broken(row)))
    const of = <K extends keyof Hooks>(name: K): NonNullable<Hooks[K]>[] =>
      made.flatMap((hooks) => {
        const hook = hooks[name]
        return hook === undefined ? [] : [hook.bind(hooks) as NonNullable<Hooks[K]>]
      })
    this.#hooks = {
      role: of('role'),
      ballot: of('ballot'),
      log: of('log'),
      commit: of('commit'),
      applying: of('applying'),
      snapshot: of('snapshot'),
      applied: of('applied'),
      sent: of('sent'),
      performed: of('performed'),
      restarted: of('restarted'),
      answers: of('answers'),
      full: of('full'),
      healing: of('healing'),
    }
  }

  /** `m` has taken one event: hearing `message`, if there is one. */
  stepped(m: Look & { heardInTerm: number }, message?: Message): void {
    const { raft } = m
    const { before: was } = m
    const { log } = raft
    const { base } = was
    const hooks = this.#hooks
    const ballot = raft.term !== was.term || raft.vote !== was.vote
    const role = raft.role !== was.role || raft.term !== was.term || raft.leader !== was.leader
    if (ballot) for (const hook of hooks.ballot) hook(m, message)
    if (this.#logChanged(m)) this.#log(m)
    if (log.commit !== was.commit) this.#commit(m)
    if (
      log.applying !== was.applying ||
      raft.configuration !== was.configuration ||
      log.applied !== was.applied
    ) {
      for (const hook of hooks.applying) hook(m)
    }
    if (role) {
      for (const hook of hooks.role) hook(m)
      this.#due ||= raft.role === 'leader'
    }
    if (raft.snapshot.index !== was.snapshotIndex) {
      // What was installed before is not on the disk yet: nothing behind it can have been applied.
      if (was.applying < base && log.base.index > base) this.#scene.truth.overlaps++
      for (const hook of hooks.snapshot) hook(m)
    }
    if (raft.term !== was.term) m.heardInTerm = 0
    was.term = raft.term
    was.vote = raft.vote
    was.role = raft.role
    was.leader = raft.leader
    was.commit = log.commit
    was.applying = log.applying
    was.applied = log.applied
    was.configuration = raft.configuration
    was.snapshotIndex = raft.snapshot.index
    if (this.#due) this.full()
  }

  sent(m: Look, message: Message): void {
    for (const hook of this.#hooks.sent) hook(m, message)
  }

  performed(m: Look): void {
    for (const hook of this.#hooks.performed) hook(m)
  }

  applied(m: Look, entry: Entry): void {
    for (const hook of this.#hooks.applied) hook(m, entry)
  }

  restored(m: Look): void {
    for (const hook of this.#hooks.applied) hook(m, undefined)
  }

  answers(m: Look, committed: number): void {
    for (const hook of this.#hooks.answers) hook(m, committed)
  }

  restarted(m: Look, recovered: Recovered | undefined): void {
    for (const hook of this.#hooks.restarted) hook(m, recovered)
    Object.assign(m.before, before(m))
    // A new life may know less of what is committed than the one before.
    this.#due = true
  }

  healing(look: Healing): void {
    for (const hook of this.#hooks.healing) hook(look)
  }

  full(): void {
    this.#due = false
    for (const hook of this.#hooks.full) hook()
  }

  #logChanged({ raft: { log }, before: { base, entries } }: Look): boolean {
    return (
      log.base.index !== base ||
      log.entries.length !== entries.length ||
      log.entries[log.entries.length - 1] !== entries[entries.length - 1]
    )
  }

  /** The same entry objects stand where nothing changed, so the first that differs is found from the end. */
  #log(m: Look): void {
    const { log } = m.raft
    const { before: was } = m
    const last = logs.lastIndex(log)
    let same = Math.min(last, was.base + was.entries.length)
    const lowest = Math.max(log.base.index, was.base)
    while (same > lowest && log.entries[same - log.base.index - 1] !== was.entries[same - was.base - 1])
      same--
    const from = Math.max(same, log.base.index) + 1
    // A compaction alone moves the base and nothing else.
    if (from <= last || last < was.base + was.entries.length)
      for (const hook of this.#hooks.log) hook(m, from)
    if (log.base.index > was.base) was.entries.splice(0, log.base.index - was.base)
    else if (log.base.index < was.base) was.entries = []
    was.base = log.base.index
    was.entries.length = Math.min(was.entries.length, same > log.base.index ? same - log.base.index : 0)
    for (let at = was.entries.length; at < log.entries.length; at++)
      was.entries.push(log.entries[at] as Entry)
  }

  #commit(m: Look): void {
    const { truth } = this.#scene
    const { log, term } = m.raft
    const news: Entry[] = []
    for (let index = Math.max(truth.committedTo, log.base.index) + 1; index <= log.commit; index++) {
      const entry = log.entries[index - log.base.index - 1]
      if (entry === undefined) break
      truth.committed.set(index, entry)
      truth.committedIn.set(index, term)
      truth.committedTo = index
      news.push(entry)
    }
    for (const hook of this.#hooks.commit) hook(m, news)
    this.#due ||= news.length > 0
  }
}
