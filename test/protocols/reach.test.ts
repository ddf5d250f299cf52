/** What answers about reachability come to: who needs relays, and which it takes. */
import test from 'ava'
import type { PeerId } from '../../protocols/ids.ts'
import { reachAnswer, reachAsk, type ReachAnswer } from '../../protocols/reach/messages.ts'
import { chooseRelays, isReachable, RELAYS } from '../../protocols/reach/reach.ts'
import { golden, sturdy } from './golden.ts'

golden('reach-ask', reachAsk, { addresses: ['/ip4/192.0.2.8/tcp/4710'] })
golden('reach-answer', reachAnswer, { dialled: false, relays: true })
sturdy('reach-ask', reachAsk, { addresses: ['/ip4/192.0.2.8/tcp/4710'] })

/** `+` could dial this peer, `r` would relay: 'a+ b-r' is a, which could and would not, and b, which could not and would. */
const answersOf = (text: string): Map<PeerId, ReachAnswer> =>
  new Map(
    text
      .split(' ')
      .filter((each) => each !== '')
      .map((each) => [each.slice(0, 1), { dialled: each[1] === '+', relays: each[2] === 'r' }]),
  )

const reachable: [answers: string, is: boolean][] = [
  ['', false],
  ['a+', true],
  ['a+ b+', true],
  ['a+ b-', false],
]
for (const [answers, is] of reachable)
  test(`with answers '${answers}' a peer is ${is ? '' : 'not '}reachable`, (t) => {
    t.is(isReachable(answersOf(answers)), is)
  })

const choices: [what: string, answers: string, dialled: string, held: string, chosen: string][] = [
  ['nobody knows anything', '', '', '', ''],
  ['everybody can dial it', 'a+r b+r', 'ab', '', ''],
  ['who could not dial it goes first', 'a+r b-r c-r', 'abc', '', 'bc'],
  ['who dialled it, and was not dialled, may be behind a NAT as well', 'a-r b-r', 'b', '', 'b'],
  ['who would not relay does not', 'a- b+r', 'ab', '', 'b'],
  ['slots that are held are kept', 'a-r b-r c-r', 'abc', 'c', 'ca'],
  ['nobody relays', 'a- b-', 'ab', '', ''],
]
for (const [what, answers, dialled, held, chosen] of choices)
  test(`relays: ${what}`, (t) => {
    const relays = chooseRelays(answersOf(answers), new Set(dialled), new Set(held), (peer) => peer)
    t.is(relays.join(''), chosen)
    t.true(relays.length <= RELAYS)
  })
