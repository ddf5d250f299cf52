/** The product's own look at links and timing (node/pacing.ts), over a simulated member instead of a peer's group. */
import { Pacing } from '../../node/pacing.ts'
import { ok } from '../../protocols/outcome.ts'
import { status } from '../../protocols/raft/raft.ts'
import type { Member } from './member.ts'

export function pacingOf(member: Member): Pacing {
  const paced: ConstructorParameters<typeof Pacing>[0] = {
    member: member.id,
    get role() {
      return member.raft.role
    },
    get leader() {
      return member.raft.leader
    },
    get timing() {
      return member.state.timing
    },
    status: () => status(member.raft),
    pace: (timing) => member.feed({ kind: 'timing', ...timing }),
    submit: (asked, done) => member.propose(asked, () => done(ok(ok(null)))),
  }
  return new Pacing(paced, member.host.clock)
}
