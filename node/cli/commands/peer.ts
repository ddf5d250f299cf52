/** Commands on peers: looking at them, taking work off them, and letting them go. */
import type { PeerView, RemovalView } from '../../views.ts'
import type { Command } from '../command.ts'
import { confirmed, DRY_RUN, YES } from '../confirm.ts'
import type { Session } from '../session.ts'
import { REPLACE } from './peer-offline.ts'

const PEER = { name: 'peer', summary: 'name, site/name or id', complete: 'peer' } as const
const PEER_OR_SELF = { ...PEER, summary: 'name, site/name or id; self for the one that is asked' } as const
const FORCE = {
  flags: '--force',
  summary: 'also while it is out of sight or has VMs: they stay on it as orphans, which are listed',
} as const

export const PEER_COMMANDS: readonly Command[] = [
  {
    name: 'peer list',
    aliases: ['ls'],
    summary: 'List the peers of the mesh; * is the one that answers',
    examples: [
      ['peer list', 'all peers'],
      ['peer list -o wide --sort-by -rtt', 'with addresses, the farthest first'],
      ['peer list --filter site=harbour -o name', 'names of the peers of one site'],
    ],
    lists: true,
    timeout: '10s',
    method: 'peer.list',
  },
  {
    name: 'peer show',
    summary: 'Show one peer, and the groups that it votes in',
    arguments: [PEER],
    examples: [['peer show crane', 'all that is known of it, and how old that is']],
    timeout: '10s',
    method: 'peer.show',
    params: ({ peer }) => ({ name: peer }),
  },
  {
    name: 'peer drain',
    summary: 'Take the votes off a peer, and give it no more VMs',
    about:
      'Ends once its votes are handed to others. VMs that it has stay on it: move them with vm move. A peer that is the ' +
      'only one of its site keeps that group’s vote.',
    arguments: [PEER_OR_SELF],
    options: [{ flags: '--undo', summary: 'it may have votes and VMs again' }, DRY_RUN],
    examples: [
      ['peer drain crane', 'before crane is switched off for a while'],
      ['peer drain self --undo', 'this peer is back'],
    ],
    timeout: '90s',
    run: drain,
  },
  {
    name: 'peer remove',
    aliases: ['rm'],
    summary: 'End the admission of a peer',
    about:
      'Its votes are handed off first; from then on no peer lets it in. It keeps the grants and the disks that it has, and ' +
      'may join again with a fresh token. Refused while VMs live on it.',
    arguments: [PEER],
    options: [FORCE, YES, DRY_RUN],
    examples: [
      ['peer remove heron --yes', 'a peer that is in sight and has no VMs'],
      ['peer remove heron --force --yes', 'one that is gone for good'],
    ],
    timeout: '90s',
    run: (session) => remove(session, session.word('peer')),
  },
  REPLACE,
]

export const LEAVE: Command = {
  name: 'leave',
  summary: 'Take this peer out of its mesh, and stop it',
  about:
    'Its votes are handed off first. The data folder keeps grants and disks, and is marked: `up` refuses it until it has ' +
    'joined again.',
  options: [FORCE, YES, DRY_RUN],
  examples: [
    ['leave --yes', 'for good, or until godwit join'],
    ['leave --dry-run', 'what would stay on it'],
  ],
  timeout: '90s',
  run: (session) => remove(session, 'self'),
}

async function drain(session: Session): Promise<number> {
  const params = { name: session.word('peer'), undo: session.has('undo'), dryRun: session.has('dryRun') }
  const answered = await session.ask('peer.drain', params)
  await session.show('peer', answered)
  const { name, vms } = answered.value as PeerView
  if (params.undo) return 0
  if (params.dryRun) session.note(`${name} would get no more votes and VMs`)
  if (vms > 0) {
    session.note(
      `${name} still has ${vms} ${vms === 1 ? 'VM' : 'VMs'}; moving them is not part of draining yet: godwit vm move VM --to PEER`,
    )
  }
  return 0
}

async function remove(session: Session, name: string): Promise<number> {
  const params = { name, force: session.has('force') }
  const own = name === 'self'
  const command = own ? 'leave' : `peer remove ${name}`
  if (session.has('dryRun')) {
    const answered = await session.ask('peer.remove', { ...params, dryRun: true })
    await session.show('peer-removal', answered)
    session.note(`${(answered.value as RemovalView).peer} would be removed from the mesh`)
    return 0
  }
  const question = own ? 'Take this peer out of its mesh?' : `Remove peer ${name} from the mesh?`
  if (!(await confirmed(session, command, question))) return 1
  const answered = await session.ask('peer.remove', params)
  await session.show('peer-removal', answered)
  const { leaderless, orphans, peer } = answered.value as RemovalView
  if (orphans.length > 0)
    session.note(`warning: these VMs stay on ${peer}, and nowhere else: ${orphans.join(', ')}`)
  for (const group of leaderless)
    session.note(
      `warning: nobody else votes in ${group}; it agrees on nothing until: godwit raft recover --group ${group}, on one of its other peers`,
    )
  session.note(
    own
      ? 'this peer stops now; its folder keeps grants and disks. To come back: godwit join'
      : `to let it in again: godwit token create, then godwit join on ${peer}`,
  )
  return 0
}
