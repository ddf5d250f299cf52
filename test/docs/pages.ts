/** The pages that are printed from tables. Each is a function of the sources, so a stale page is found by printing it. */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CONFIG_KEYS } from '../../node/config-keys.ts'
import { METRICS } from '../../node/metrics.ts'
import { type Failure, RULES } from '../../protocols/errors.ts'
import * as limits from '../../protocols/limits.ts'
import { KEYSPACE } from '../../storage/keyspace.ts'
import { cliPage } from './cli-page.ts'
import { protocolsPage } from './protocols-page.ts'
import { constantsOf, inline } from './source.ts'
import { specPage } from './spec-page.ts'

const root = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

export const PAGES: Readonly<Record<string, () => string>> = {
  'docs/CLI.md': cliPage,
  'docs/CONFIG.md': configPage,
  'docs/ERRORS.md': errorsPage,
  'docs/LIMITS.md': limitsPage,
  'docs/METRICS.md': metricsPage,
  'docs/PROTOCOLS.md': protocolsPage,
  'docs/STORAGE.md': storagePage,
  'docs/VM-SPEC.md': specPage,
  'docs/decisions/README.md': decisionsPage,
}

const printed = (source: string): string =>
  `<!-- Printed from ${source} by \`npm run docs\`. Change it there. -->\n`

/** Fields that are lists, and what stands for one of their items. */
const LISTS: Readonly<Record<string | symbol, string>> = {
  choices: '<choice>',
  vms: '<vm>',
  missing: '<peer>',
  groups: '<group>',
  lacking: '<peer>',
  given: '<key>',
}

/** A value of every field of a failure that reads as the field's name. */
const placeholder = new Proxy<object>(
  {},
  {
    get: (_, field) => {
      const one = LISTS[field]
      if (one !== undefined) return [one, '…']
      if (field === 'reasons') return [{ host: '<host>', why: '<why>' }]
      return `<${String(field)}>`
    },
  },
) as Failure

type Say = (failure: Failure) => string | undefined

function errorsPage(): string {
  const rows = Object.entries(RULES).map(([code, rule]) => {
    const { say, next } = rule as unknown as { readonly say: Say; readonly next?: Say }
    const cells = [
      `\`${code}\``,
      rule.exit,
      rule.retry ? 'yes' : 'no',
      inline(say(placeholder) ?? ''),
      inline(next?.(placeholder) ?? ''),
    ]
    return `| ${cells.join(' | ')} |`
  })
  return `${printed('protocols/errors.ts')}
# Errors

Every way an operation can fail on purpose. \`exit\` is the status with which the command line ends; \`retry\` says whether
the same request may succeed later without anyone changing anything.

| code | exit | retry | what it says | next |
|---|---|---|---|---|
${rows.join('\n')}
`
}

function limitsPage(): string {
  const values = limits as Readonly<Record<string, unknown>>
  let section = ''
  let text = ''
  for (const constant of constantsOf(read('protocols/limits.ts'))) {
    if (constant.section !== section) {
      section = constant.section
      text += `\n## ${section}\n\n| bound | value | why |\n|---|---|---|\n`
    }
    const value = values[constant.name]
    text += `| \`${constant.name}\` | ${typeof value === 'number' ? value.toLocaleString('en') : inline(String(value))} | ${inline(constant.doc)} |\n`
  }
  return `${printed('protocols/limits.ts')}
# Limits

Every bound, with its reason. Bytes and milliseconds where a name says so, else a count.
${text}`
}

function metricsPage(): string {
  const rows = Object.entries(METRICS).map(([name, { type, labels, help }]) => {
    const names = labels.map((label) => `\`${label}\``).join(', ')
    return `| \`${name}\` | ${type} | ${names} | ${inline(help)} |`
  })
  return `${printed('node/metrics.ts')}
# Metrics

What \`/metrics\` of a peer's status endpoint serves.

| metric | type | labels | what it is |
|---|---|---|---|
${rows.join('\n')}
`
}

/** A file that says something under every key; print.test.ts has it checked as the peer would. */
export const CONFIG_EXAMPLE = `dataDir: /var/lib/godwit
markDir: /var/lib/godwit-marks # not backed up with dataDir, and not moved with it
name: quay
listen: [/ip4/0.0.0.0/tcp/4710]
announce: [/dns4/quay.example.org/tcp/4710] # what others dial, where it is not what is listened on
mdns: true
http: { listen: '127.0.0.1:4780' } # or off
capacity: { cpus: 8, memoryMiB: 16384, diskGiB: 200 } # what of this host VMs may have
labels: { rack: a1, gpu: none }
driver: auto
log: { level: info }
`

function configPage(): string {
  const rows = CONFIG_KEYS.map(
    ({ key, env, flag, kind, summary, otherwise }) =>
      `| \`${key}\` | ${kind} | ${inline(summary)} | ${inline(otherwise)} | \`${env}\` | \`--${flag}\` |`,
  )
  return `${printed('node/config-keys.ts')}
# Configuration

A YAML file: \`--config FILE\`, else \`GODWIT_CONFIG\`, else \`/etc/godwit/config.yaml\` for root and
\`~/.config/godwit/config.yaml\` for others, if it is there. Every key has a default that works. A flag stands before a
variable of the environment, that before the file, that before the default; \`godwit config show --origin\` says where each
value came from, \`godwit config validate FILE\` checks a file. An unknown key, a wrong type and a value that cannot be
used are refused with line, column and key, exit status 2.

| key | type | what it is | default | variable | flag |
|---|---|---|---|---|---|
${rows.join('\n')}

A *list* is a YAML list in the file, and separated by commas in a variable; a flag of one may be given more than once. *labels*
are \`key: value\` in the file, \`key=value\` elsewhere. A relative path is relative to the file that names it.

\`\`\`yaml
${CONFIG_EXAMPLE}\`\`\`
`
}

/** The table of keys inside a page that is otherwise written by hand. */
function storagePage(): string {
  const rows = Object.values(KEYSPACE).map(({ prefix, what }) => `| \`${prefix}\` | ${inline(what)} |`)
  const table = ['| prefix | what |', '|---|---|', ...rows].join('\n')
  return read('docs/STORAGE.md').replace(/^\| prefix \| what \|\n(?:\|.*\n)+/m, () => `${table}\n`)
}

/** Decisions in the order of their numbers, each by its own title. */
function decisionsPage(): string {
  const rows = globSync('docs/decisions/[0-9]*.md', { cwd: root })
    .toSorted()
    .map((path) => {
      const [, number = '', title = ''] = /^# (\d+)\. (.+)$/m.exec(read(path)) ?? []
      return `| ${number} | [${inline(title)}](${path.replace('docs/decisions/', '')}) |`
    })
  return `${printed('the titles of these pages')}
# Decisions

Each says in what situation something was decided, what, and what was given up for it. A decision that is changed gets a
new page that names the old one. Numbers may be missing.

| | |
|---|---|
${rows.join('\n')}
`
}
