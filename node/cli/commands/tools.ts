/** Commands about this program itself: running the peer, configuration, help. */
import { GodwitError } from '../../../protocols/errors.ts'
import { CONFIG_KEYS } from '../../config-keys.ts'
import { VERSION } from '../../version.ts'
import type { Command } from '../command.ts'
import { CONFIG_OPTIONS } from '../config-options.ts'
import { usage } from '../failures.ts'
import type { Session } from '../session.ts'
import type { Log } from '../../log.ts'

const SHELLS = ['bash', 'zsh', 'fish'] as const

export const TOOL_COMMANDS: readonly Command[] = [
  {
    name: 'up',
    summary: 'Run the peer in the foreground',
    about:
      'SIGTERM and Ctrl-C drain it in order, within 20 s. Guests go on, and are found again by the next `up`.',
    options: CONFIG_OPTIONS,
    examples: [
      ['up', 'with the configuration file, or with defaults'],
      ['up --config /etc/godwit/config.yaml --log-level debug', 'with a file, and more to read'],
    ],
    run: runPeer,
  },
  {
    name: 'config show',
    summary: 'Show the configuration as `up` would have it',
    options: [
      { flags: '--origin', summary: 'where each value came from: flag, env, file or default' },
      ...CONFIG_OPTIONS,
    ],
    examples: [
      ['config show --origin', 'each key, its value, and who said so'],
      ['config show -o json', 'for programs'],
    ],
    run: showConfig,
  },
  {
    name: 'config validate',
    summary: 'Check a configuration file',
    arguments: [
      {
        name: 'file',
        summary: 'the file; the one `up` would read otherwise',
        optional: true,
        complete: 'path',
      },
    ],
    examples: [['config validate ./config.yaml', 'names line, column and key of the first fault']],
    run: validate,
  },
  {
    name: 'version',
    summary: 'Show the version of this program',
    examples: [['version', 'and of the Node that runs it']],
    async run(session) {
      const node = process.versions.node
      if (session.output.format === 'table') session.io.out(`godwit ${VERSION} (Node ${node})\n`)
      else await session.showItem('version', { version: VERSION, node })
      return 0
    },
  },
  {
    name: 'completion',
    summary: 'Print the completion script of a shell',
    arguments: [{ name: 'shell', summary: SHELLS.join(', '), complete: SHELLS }],
    examples: [
      ['completion bash > /etc/bash_completion.d/godwit', 'for every bash'],
      ['completion zsh > "${fpath[1]}/_godwit"', 'for zsh'],
      ['completion fish > ~/.config/fish/completions/godwit.fish', 'for fish'],
    ],
    async run(session) {
      const shell = SHELLS.find((each) => each === session.word('shell'))
      if (shell === undefined)
        return usage(`no completion for ${session.word('shell')}; there is ${SHELLS.join(', ')}`)
      const { printScript } = await import('../completion.ts')
      printScript(shell)
      return 0
    },
  },
  {
    name: 'help',
    summary: 'Show help on a command; with --json the whole tree of commands',
    arguments: [
      { name: 'noun', summary: 'command, or the first word of one', optional: true },
      { name: 'verb', summary: 'its second word', optional: true },
    ],
    examples: [
      ['help vm create', 'the same as vm create --help'],
      ['help --json', 'every command with its arguments and options'],
    ],
    // program.ts answers it: it has the parser that knows the layout.
    run: () => Promise.resolve(0),
  },
]

async function runPeer(session: Session): Promise<number> {
  const { readConfig } = await import('../../config.ts')
  const read = await readConfig(session.flags, session.io.env)
  if (!read.ok) throw new GodwitError(read.failure)
  const { config } = read.value
  const [{ openLog }, { up }] = await Promise.all([import('../../log.ts'), import('../../peer.ts')])
  const log = openLog(config.log.level)
  mindBugs(log)
  const { startPeer } = await import('../../start.ts')
  const outcome = await up(config, log, startPeer, session.io.stopped())
  if (!outcome.ok) throw new GodwitError(outcome.failure)
  return 0
}

/**
 * A throw that nobody caught may have left a rule half done: the peer must not run on; its guests do. A rejection that
 * nobody waited for is an adapter's (cores have no promises), and mostly of a connection that is gone.
 */
function mindBugs(log: Log): void {
  const stack = (error: unknown): string => String(error instanceof Error ? error.stack : error)
  process.on('unhandledRejection', (error) =>
    log.error({ error: stack(error) }, 'a rejection that nobody handled'),
  )
  process.on('uncaughtException', (error) => {
    log.error({ error: stack(error) }, 'a bug: this peer ends, its guests go on')
    process.exit(1)
  })
}

async function showConfig(session: Session): Promise<number> {
  const { pick, readConfig } = await import('../../config.ts')
  const read = await readConfig(session.flags, session.io.env)
  if (!read.ok) throw new GodwitError(read.failure)
  const { config, origins } = read.value
  const origin = session.has('origin')
  const rows = CONFIG_KEYS.map(({ key }) => ({
    key,
    value: pick(config, key),
    ...(origin && { origin: origins[key] }),
  }))
  const { format } = session.output
  const shown = origin && format === 'table' ? { ...session.output, format: 'wide' as const } : session.output
  await session.show('setting', { value: rows, asOf: new Date(session.io.nowMs()).toISOString() }, shown)
  return 0
}

async function validate(session: Session): Promise<number> {
  const { readConfig } = await import('../../config.ts')
  const { file } = session.words
  const read = await readConfig(
    file === undefined ? session.flags : { ...session.flags, config: file },
    session.io.env,
  )
  if (!read.ok) throw new GodwitError(read.failure)
  session.note(`${read.value.file ?? 'the defaults'}: ok`)
  return 0
}
