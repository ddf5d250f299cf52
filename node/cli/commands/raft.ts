/** Commands on Raft groups: who agrees with whom, who leads, and what to do when nobody can. */
import { resolve } from 'node:path'
import { describeFailure, GodwitError, nextStep } from '../../../protocols/errors.ts'
import type { HealthView, TransferView } from '../../views.ts'
import type { Command } from '../command.ts'
import { DRY_RUN, YES } from '../confirm.ts'
import type { Session } from '../session.ts'
import { recoverGroup, restoreGroup } from './raft-offline.ts'

const GROUP = {
  flags: '--group <group>',
  summary: 'mesh, site/NAME, or site for the own one',
  otherwise: 'mesh',
  complete: 'group',
} as const

const groupOf = (values: Readonly<Record<string, unknown>>): { group: string } => ({
  group: typeof values['group'] === 'string' ? values['group'] : 'mesh',
})

export const RAFT_COMMANDS: readonly Command[] = [
  {
    name: 'raft list',
    aliases: ['ls'],
    summary: 'List the Raft groups that this peer is in',
    about: 'Answered from this peer’s own copy: a group without a leader is marked stale.',
    examples: [
      ['raft list', 'role, term, leader, voters and positions in the log'],
      ['raft list -o json', 'for programs'],
    ],
    lists: true,
    timeout: '10s',
    method: 'raft.list',
  },
  {
    name: 'raft health',
    summary: 'Show the members of a group as its leader sees them',
    about:
      'Ends with 4 when so many voters are out of sight that the group can agree on nothing, and says which. Without a ' +
      'leader it is what the peer that was asked can see.',
    options: [GROUP],
    examples: [
      ['raft health', 'the members of the mesh group'],
      ['raft health --group site/hill', 'those of the group of site hill'],
    ],
    lists: true,
    timeout: '10s',
    run: health,
  },
  {
    name: 'raft transfer',
    summary: 'Make another voter lead a group',
    about: 'Ends once it leads. No write is lost; those under way wait for the new leader.',
    options: [
      GROUP,
      { flags: '--to <peer>', summary: 'the voter that is to lead', complete: 'peer' },
      DRY_RUN,
    ],
    examples: [
      ['raft transfer --to heron', 'heron leads the mesh group'],
      ['raft transfer --group site/hill --to stork', 'stork leads the group of site hill'],
    ],
    timeout: '15s',
    run: transfer,
  },
  {
    name: 'raft snapshot save',
    summary: 'Save what a group agrees on to a file',
    about:
      'The file holds everything that was acknowledged before the command, at one position of the log. It is there whole ' +
      'or not at all, and readable by its owner alone: specs may hold secrets of guests.',
    arguments: [{ name: 'file', summary: 'where to', complete: 'path' }],
    options: [GROUP],
    examples: [
      ['raft snapshot save mesh.snap', 'the mesh group'],
      ['raft snapshot save hill.snap --group site/hill', 'the group of site hill, on a peer of hill'],
    ],
    timeout: '30s',
    async run(session) {
      const path = resolve(session.io.cwd, session.word('file'))
      const params = { ...groupOf(session.values), path }
      await session.show('raft-snapshot', await session.ask('raft.snapshot.save', params))
      return 0
    },
  },
  {
    name: 'raft snapshot restore',
    summary: 'Start a group anew from a saved file, with this peer as its one voter',
    about:
      'The peer must be stopped. The group gets a new generation; members of the older one put their logs aside and come ' +
      'back as new members. What hosts hold (grants, promises, disks) is theirs and wins over the file by its epoch.',
    arguments: [{ name: 'file', summary: 'a file of raft snapshot save', complete: 'path' }],
    options: [YES, DRY_RUN],
    examples: [
      ['raft snapshot restore mesh.snap --dry-run', 'what the file holds, and what would be lost'],
      ['raft snapshot restore mesh.snap --yes', 'without a question'],
    ],
    timeout: '60s',
    run: restoreGroup,
  },
  {
    name: 'raft recover',
    summary: 'Start a group anew from what this peer has of it, when most of its voters are gone for good',
    about:
      'The peer must be stopped. The group gets a new generation with this peer as its one voter, and everything up to the ' +
      'last entry that this peer holds. What only the others held is lost; they may come back as new members. No grant ' +
      'ends by it: hosts show what they hold, and the highest epoch wins.',
    options: [GROUP, YES, DRY_RUN],
    examples: [
      ['raft recover --group mesh --dry-run', 'what would be kept, and what lost'],
      ['raft recover --group site/hill --yes', 'without a question'],
    ],
    timeout: '60s',
    run: recoverGroup,
  },
]

async function health(session: Session): Promise<number> {
  const params = groupOf(session.values)
  const answered = await session.ask('raft.health', params)
  const members = answered.value as HealthView[]
  const failure = quorumLost(members)
  const { format } = session.output
  // For programs a failure is one line on stderr, and nothing else.
  if (failure !== undefined && (format === 'json' || format === 'jsonl')) throw new GodwitError(failure)
  await session.show('raft-health', answered)
  if (failure === undefined) return 0
  session.note(`godwit: ${describeFailure(failure)}`)
  session.note(`  try: ${nextStep(failure) ?? ''}`)
  return 4
}

/** Who stores what is agreed on; whether it can apply it is another matter. */
const isCounted = ({ verdict }: HealthView): boolean => verdict !== 'silent' && verdict !== 'unreachable'

/** The same rule as the peer's own, on what it answered: each half of a joint configuration needs its majority. */
function quorumLost(members: readonly HealthView[]) {
  const lost = (kind: HealthView['kind']): boolean => {
    const half = members.filter((each) => each.kind === kind)
    const well = half.filter(isCounted).length
    return half.length > 0 && well < Math.floor(half.length / 2) + 1
  }
  if (!lost('voter') && !lost('outgoing')) return undefined
  const voters = members.filter(({ kind }) => kind !== 'learner')
  const gone = voters.filter((each) => !isCounted(each))
  return {
    code: 'NO_QUORUM' as const,
    group: members[0]?.group ?? '',
    voters: voters.length,
    missing: gone.map(({ peer }) => peer),
    afterMs: Math.max(...members.map(({ ageMs }) => ageMs)),
    pending: false,
  }
}

async function transfer(session: Session): Promise<number> {
  const to = session.text('to')
  if (to === undefined) {
    throw new GodwitError({
      code: 'USAGE',
      why: '--to is missing: a voter of the group',
      next: 'godwit raft health',
    })
  }
  const group = groupOf(session.values)
  const dryRun = session.has('dryRun')
  const answered = await session.ask('raft.transfer', { ...group, to, dryRun })
  await session.show('raft-transfer', answered)
  const { from, to: heir } = answered.value as TransferView
  if (dryRun) session.note(`${heir} would lead ${group.group} in place of ${from}`)
  return 0
}
