/**
 * `/godwit/roles/1`: what the leader of a group asks of those who may vote in it, and what a peer that is about to stop
 * asks of the leader (docs/decisions/0010, "Voters are elected"). Requests; what is answered is a sample, and enters no log.
 */
import { codec } from '../codec.ts'
import { peerId } from '../ids.ts'
import { NAME_LENGTH_MAX, ROLES_ROUND_TRIPS_MAX } from '../limits.ts'
import { memberId } from '../raft/member.ts'
import { boolean, dictionary, integer, list, number, oneOf, record, tagged, text } from '../shape.ts'

export const PROTOCOL = '/godwit/roles/1'

const group = text(96)

const askShape = tagged({
  /** Leader → anybody admitted: would you vote? `to`: whose round trips to name. */
  candidate: record({ group, to: list(peerId, ROLES_ROUND_TRIPS_MAX) }),
  /** Voter → leader: I am about to stop; let another vote, if there is one. Said again until the answer is `stays: false`. */
  leaving: record({ group, member: memberId }),
})
export const rolesAsk = codec('roles ask', askShape)

const answerShape = tagged({
  candidate: record({
    /** Its member of that group now; another than before when it lost its log. */
    member: memberId,
    /** Empty: its site's. */
    uplink: text(NAME_LENGTH_MAX, 0),
    uptimeMs: integer(0, 2 ** 48),
    power: oneOf('mains', 'battery'),
    noVote: boolean,
    /** It is about to stop. */
    leaving: boolean,
    /** In ms, to those asked about and connected. */
    rttMs: dictionary(number(0, 600_000), ROLES_ROUND_TRIPS_MAX, peerId),
  }),
  /** `votes`: it still does. `stays`: nobody can take its place, or it has none: it need not wait. */
  leaving: record({ votes: boolean, stays: boolean }),
})
export const rolesAnswer = codec('roles answer', answerShape)
