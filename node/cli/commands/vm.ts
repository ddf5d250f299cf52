/** Commands for VMs; `vm create` and `vm move` have files of their own. */
import type { Command } from '../command.ts'
import { usage } from '../failures.ts'
import { clean } from '../human.ts'
import type { Session } from '../session.ts'
import { vmCreate } from './vm-create.ts'
import { vmMove } from './vm-move.ts'

const VM = { name: 'vm', summary: 'name, site/name, id or its unique beginning', complete: 'vm' } as const

export const VM_COMMANDS: readonly Command[] = [
  {
    name: 'vm list',
    aliases: ['ls'],
    summary: 'List VMs: those of this site, and what other sites told of theirs',
    examples: [
      ['vm list', 'all of them'],
      ['vm list --filter state=running --sort-by -memory', 'the running ones, the largest first'],
      ['vm list -w', 'and again at every change'],
    ],
    lists: true,
    timeout: '10s',
    method: 'vm.list',
  },
  {
    name: 'vm show',
    summary: 'Show one VM and its spec',
    arguments: [VM],
    examples: [
      ['vm show web', 'a VM of this site'],
      ['vm show hill/web -o yaml', 'one of another site, as YAML'],
    ],
    timeout: '15s',
    method: 'vm.show',
    params: ({ vm }) => ({ name: vm }),
  },
  vmCreate,
  {
    name: 'vm start',
    summary: 'Start a VM, and have it running from now on',
    arguments: [VM],
    examples: [['vm start web', 'ends when it runs']],
    timeout: '2m',
    method: 'vm.start',
    params: ({ vm }) => ({ name: vm }),
  },
  {
    name: 'vm stop',
    summary: 'Power a VM off, and have it stopped from now on',
    arguments: [VM],
    options: [{ flags: '--kill', summary: 'do not ask the guest: pull the plug' }],
    examples: [
      ['vm stop web', 'asks the guest to power off'],
      ['vm stop web --kill', 'does not ask'],
    ],
    timeout: '2m',
    method: 'vm.stop',
    params: ({ vm }, { kill }) => ({ name: vm, kill: kill === true }),
  },
  vmMove,
  {
    name: 'vm delete',
    aliases: ['rm'],
    summary: 'Delete a VM and its disks',
    arguments: [VM],
    options: [
      { flags: '-y, --yes', summary: 'do not ask; needed where nobody can be asked' },
      { flags: '--dry-run', summary: 'say what would be deleted, and do nothing' },
    ],
    examples: [['vm delete web --yes', 'without a question']],
    timeout: '30s',
    run: remove,
  },
  {
    name: 'vm logs',
    summary: "Show the newest lines of a VM's serial port",
    arguments: [VM],
    options: [{ flags: '-n, --lines <count>', summary: 'how many, at most 1000', otherwise: '100' }],
    examples: [['vm logs web --lines 20', 'the last twenty']],
    timeout: '15s',
    run: logs,
  },
  {
    name: 'vm plan',
    summary: 'Show what this peer would do to bring its VMs to what is wanted',
    examples: [['vm plan', 'nothing, when all is as wanted']],
    lists: true,
    timeout: '10s',
    method: 'vm.plan',
  },
]

async function remove(session: Session): Promise<number> {
  const name = session.word('vm')
  if (session.has('dryRun')) {
    await session.show('vm-detail', await session.ask('vm.show', { name }))
    session.note('this VM and its disks would be deleted')
    return 0
  }
  if (!session.has('yes')) {
    if (!session.io.stdinTty || !session.io.stderrTty) {
      return usage(
        `vm delete ${name} needs --yes where nobody can be asked`,
        `godwit vm delete ${name} --yes`,
      )
    }
    session.io.err(`Delete VM ${clean(name)} and its disks? [y/N] `)
    if (!/^y(es)?$/i.test((await session.io.readLine()).trim())) {
      session.note('nothing is deleted')
      return 1
    }
  }
  await session.show('vm-deleted', await session.ask('vm.delete', { name }))
  return 0
}

async function logs(session: Session): Promise<number> {
  const count = session.text('lines') ?? '100'
  if (!/^\d{1,4}$/.test(count)) usage(`--lines ${count}: write a number from 1 to 1000`)
  const answered = await session.ask('vm.logs', { name: session.word('vm'), lines: Number(count) })
  const { lines } = answered.value as { lines: string[] }
  const { format } = session.output
  // A guest may write anything; a terminal would do as it says.
  if (format === 'table' || format === 'wide')
    session.io.out(lines.map((line) => `${clean(line)}\n`).join(''))
  else await session.show('log', answered)
  return 0
}
