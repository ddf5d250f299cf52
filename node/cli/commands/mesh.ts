/** Commands that make a mesh and let peers into it. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { failureOf, GodwitError } from '../../../protocols/errors.ts'
import type { Command } from '../command.ts'
import { CONFIG_OPTIONS } from '../config-options.ts'
import { usage } from '../failures.ts'
import { durationOf, type Session } from '../session.ts'

/** A token is a few hundred characters. */
const TOKEN_BYTES_MAX = 8 * 1024

const SITE = { flags: '--site <name>', summary: 'site that this peer is of: the peers that share a LAN' }

export const MESH_COMMANDS: readonly Command[] = [
  {
    name: 'init',
    summary: 'Found a mesh: prepare the data folder of its first peer',
    about: 'Prepares the folder and exits; `godwit up` runs the peer.',
    options: [SITE, ...CONFIG_OPTIONS],
    examples: [
      ['init --site harbour', 'found a mesh whose first site is harbour'],
      ['init --site harbour --name crane --data-dir /srv/godwit', 'the same, with a name and a folder'],
    ],
    async run(session) {
      const { config, site } = await settled(session)
      const { initialise } = await import('../../init.ts')
      const outcome = await initialise(config, { site, name: config.name })
      if (!outcome.ok) throw new GodwitError(outcome.failure)
      await session.showItem('joined', outcome.value)
      session.note('next: godwit up')
      return 0
    },
  },
  {
    name: 'join',
    summary: 'Join a mesh: prepare the data folder of one more peer',
    about:
      'Reads the token from standard input, from --token-file or from GODWIT_TOKEN, never from the command line, which ' +
      'everybody on the machine can see. Ends once the mesh has agreed on the admission; `godwit up` runs the peer.',
    options: [
      SITE,
      { flags: '--token-file <file>', summary: 'file that holds the token', complete: 'path' },
      ...CONFIG_OPTIONS,
    ],
    examples: [
      ['join --site hill < token', 'join as a peer of site hill'],
      ['join --site hill --token-file /run/godwit-token', 'the same, from a file'],
    ],
    async run(session) {
      const { config, site } = await settled(session)
      const token = await tokenFor(session)
      const { joinMesh } = await import('../../init.ts')
      const outcome = await joinMesh(config, { token, site, name: config.name })
      if (!outcome.ok) throw new GodwitError(outcome.failure)
      await session.showItem('joined', outcome.value)
      session.note('next: godwit up')
      return 0
    },
  },
  {
    name: 'token create',
    summary: 'Make a token that lets one peer join',
    about: 'Prints the token alone, so that it can be piped. It can be used once, and expires.',
    options: [
      { flags: '--site <name>', summary: 'admit to this site only', complete: 'site' },
      { flags: '--expiry <duration>', summary: 'how long it can be used', otherwise: '3h' },
    ],
    examples: [
      ['token create', 'a token for any site, for three hours'],
      ['token create --site hill --expiry 10m > token', 'one for site hill, for ten minutes, into a file'],
    ],
    timeout: '10s',
    async run(session) {
      const site = session.text('site')
      const expiryMs = durationOf('--expiry', session.text('expiry') ?? '3h')
      const answered = await session.ask('token.create', { ...(site !== undefined && { site }), expiryMs })
      const { expiresAt, id, token } = answered.value as { expiresAt: string; id: string; token: string }
      const { format } = session.output
      if (format !== 'table' && format !== 'wide' && format !== 'name') {
        await session.show('token-created', answered)
        return 0
      }
      session.io.out(`${token}\n`)
      session.note(`${id} admits one peer${site === undefined ? '' : ` to site ${site}`} until ${expiresAt}`)
      session.note(`on the new peer: godwit join --site ${site ?? 'NAME'}, with the token on standard input`)
      return 0
    },
  },
  {
    name: 'token list',
    aliases: ['ls'],
    summary: 'List join tokens; secrets are not kept',
    examples: [
      ['token list', 'all of them'],
      ['token list --filter state=open', 'those that can still be used'],
    ],
    lists: true,
    timeout: '10s',
    method: 'token.list',
  },
  {
    name: 'token revoke',
    aliases: ['rm'],
    summary: 'Make a token useless before it expires',
    arguments: [{ name: 'token', summary: "the token's id, not the token", complete: 'token' }],
    examples: [['token revoke 01JD0000000000000000TOKEN1', 'by its id, as token list shows it']],
    timeout: '10s',
    method: 'token.revoke',
    params: ({ token }) => ({ name: token }),
  },
]

async function settled(session: Session) {
  const site =
    session.text('site') ?? usage('--site is missing: a peer is of a site', 'godwit init --site NAME')
  if (!/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(site)) {
    usage(`--site ${site}: a name is up to 63 of a-z, 0-9 and -, not at its ends`)
  }
  const { readConfig } = await import('../../config.ts')
  const read = await readConfig(session.flags, session.io.env)
  if (!read.ok) throw new GodwitError(read.failure)
  return { config: read.value.config, site }
}

async function tokenFor(session: Session): Promise<string> {
  const { io } = session
  const file = session.text('tokenFile')
  const said = file !== undefined ? fromFile(resolve(io.cwd, file)) : io.env['GODWIT_TOKEN']
  const text = said ?? (await typed(session))
  const token = text.trim()
  if (token === '') {
    usage(
      'no join token: give it on standard input, in --token-file or in GODWIT_TOKEN',
      'godwit token create, on a peer of the mesh',
    )
  }
  if (token.length > TOKEN_BYTES_MAX) throw new GodwitError({ code: 'TOKEN_REFUSED', why: 'malformed' })
  return token
}

async function typed(session: Session): Promise<string> {
  if (!session.io.stdinTty)
    return (await session.io.readAll(TOKEN_BYTES_MAX)) ?? 'x'.repeat(TOKEN_BYTES_MAX + 1)
  session.io.err('join token: ')
  return session.io.readLine()
}

function fromFile(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw new GodwitError(failureOf(error), { cause: error })
  }
}
