/** Rows about terms, votes and who leads. */
import { isSoleVoter } from '../../../protocols/raft/configuration.ts'
import type { Message } from '../../../protocols/raft/messages.ts'
import { holds } from '../disk.ts'
import type { Checker } from './checker.ts'

const grants = (message: Message): string =>
  message.kind === 'MsgVote'
    ? message.from
    : message.kind === 'MsgVoteResp' && !message.reject
      ? message.to
      : ''

export const ELECTION: readonly Checker[] = [
  {
    id: 'I1',
    name: 'ElectionSafety',
    what: 'at most one leader in a term, over all time',
    make: (_, broken) => {
      const leaders = new Map<number, string>()
      return {
        role({ id, raft: { role, term } }) {
          if (role !== 'leader') return
          const known = leaders.get(term) ?? id
          if (known !== id) broken(`${known} and ${id} lead in term ${term}`)
          leaders.set(term, id)
        },
      }
    },
  },
  {
    id: 'I10',
    name: 'NothingGoesBack',
    what: 'term, vote in a term, commit and applied never go back in a life, and what was promised survives a restart',
    make: (_, broken) => {
      const promised = new Map<string, { term: number; vote: string }>()
      return {
        ballot({ id, before, raft: { term, vote } }) {
          if (term < before.term) broken(`the term of ${id} went from ${before.term} to ${term}`)
          if (term === before.term && before.vote !== '' && vote !== before.vote) {
            broken(`${id} voted for ${before.vote} and for ${vote} in term ${term}`)
          }
        },
        commit({ id, before, raft: { log } }) {
          if (log.commit < before.commit)
            broken(`the commit of ${id} went from ${before.commit} to ${log.commit}`)
        },
        applying({ id, before, raft: { log } }) {
          if (log.applied < before.applied)
            broken(`applied of ${id} went from ${before.applied} to ${log.applied}`)
        },
        sent({ id }, message) {
          const vote = grants(message)
          const known = promised.get(id)
          if (known !== undefined && known.term === message.term && vote !== '' && known.vote !== vote) {
            if (known.vote !== '')
              broken(`${id} said that it votes for ${known.vote} and for ${vote} in ${message.term}`)
          }
          if (vote !== '' && message.term >= (known?.term ?? 0))
            promised.set(id, { term: message.term, vote })
        },
        restarted({ id, raft: { term, vote } }) {
          const known = promised.get(id)
          if (known === undefined) return
          if (term < known.term || (term === known.term && vote !== known.vote)) {
            broken(`${id} forgot that it votes for ${known.vote} in term ${known.term}`)
          }
        },
      }
    },
  },
  {
    id: 'I11',
    name: 'DurableBeforeSaid',
    what: 'term, vote and entries are on disk before a message that says so leaves',
    make: (_, broken) => ({
      sent({ id, durable }, message) {
        const { term, vote } = durable.hardState
        const said = grants(message)
        if (said !== '' && (term < message.term || (term === message.term && vote !== said))) {
          broken(`${id} votes for ${said} in term ${message.term}, which is not on its disk`)
        }
        if (message.kind !== 'MsgAppResp' || message.reject || message.index === 0) return
        if (!holds(durable, message.index, undefined)) {
          broken(`${id} acknowledges ${message.index}, which is not on its disk`)
        }
        if (term < message.term)
          broken(`${id} acknowledges in term ${message.term}, which is not on its disk`)
      },
    }),
  },
  {
    id: 'I16',
    name: 'PreVoteRaisesNothing',
    what: 'a pre-vote raises no term, and a member that hears nobody keeps its own',
    make: (_, broken) => ({
      ballot(m, message) {
        const { term, configuration } = m.raft
        if (term === m.before.term) return
        if (message?.kind === 'MsgPreVote') broken(`${m.id} went to term ${term} by a pre-vote`)
        const alone = isSoleVoter(configuration, m.id) || isSoleVoter(m.before.configuration, m.id)
        if (m.heardInTerm === 0 && !alone && m.raft.config.preVote !== false)
          broken(`${m.id} went to term ${term}, and has heard nobody since ${m.before.term}`)
      },
    }),
  },
]
