/** What pages written by hand point at is there: files, headings, and the tests that hold a promise. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import test from 'ava'
import { GLOBAL_OPTIONS, LIST_OPTIONS } from '../../node/cli/command.ts'
import { COMMANDS } from '../../node/cli/commands.ts'

const root = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const pages = ['README.md', ...globSync('docs/**/*.md', { cwd: root }).sort()]

/** As GitHub makes them. */
const anchorsOf = (text: string): string[] =>
  [...text.matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .trim()
      .replaceAll(' ', '-'),
  )

for (const page of pages) test(`links of ${page} lead somewhere`, (t) => t.deepEqual(faultsOf(page), []))

function faultsOf(page: string): string[] {
  const text = read(page).replaceAll(/```[\s\S]*?```/g, '')
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = '']) => {
    if (/^https?:/.test(target)) return []
    const [path = '', anchor] = target.split('#')
    const file = path === '' ? page : join(dirname(page), path)
    if (!existsSync(join(root, file))) return [`${target}: no such file`]
    const missing = anchor !== undefined && !anchorsOf(read(file)).includes(anchor)
    return missing ? [`${target}: no such heading`] : []
  })
}

test('every page is linked from the readme, or from a page that is', (t) => {
  const reached = new Set<string>()
  const visit = (page: string): void => {
    if (reached.has(page) || !page.endsWith('.md')) return
    reached.add(page)
    for (const [, target = ''] of read(page).matchAll(/\]\(([^)\s#]+)/g)) {
      const at = join(dirname(page), target)
      const index = existsSync(join(root, at, 'README.md')) ? join(at, 'README.md') : at
      if (existsSync(join(root, index))) visit(index)
    }
  }
  visit('README.md')
  t.deepEqual(
    pages.filter((page) => !reached.has(page)),
    [],
  )
})

test('every promise names a test that is there', (t) => {
  const rows = read('docs/SPECIFICATION.md').split('\n')
  const promises = rows.filter((row) => /^\| \d+\.\d+ \|/.test(row))
  t.true(promises.length > 0)
  for (const row of promises) {
    const named = [...row.matchAll(/“([^”]+)” in \[[^\]]+\]\(\.\.\/([^)]+)\)/g)]
    t.true(named.length > 0, `${row}: no test`)
    for (const [, title = '', file = ''] of named) {
      t.true(read(file).includes(title), `${file} has no ${title}`)
    }
  }
})

test('files that the code map and the walks name are there', (t) => {
  const text = read('docs/ARCHITECTURE.md')
  const named = [...text.matchAll(/`((?:protocols|storage|migration|node|simulator|test)\/[\w./-]*)`/g)]
  t.true(named.length > 50)
  for (const [, path = ''] of named) t.true(existsSync(join(root, path)), `${path}: no such file`)
})

test('every godwit that OPERATIONS.md types is a command, with options that it has', (t) => {
  const lines = read('docs/OPERATIONS.md').matchAll(/^ {4}godwit (.+)$/gm)
  let count = 0
  for (const [, line = ''] of lines) {
    const typed = (line.split(/ +#|[|<>;]/)[0] ?? '').trim()
    const command = COMMANDS.filter(({ name }) => `${typed} `.startsWith(`${name} `))
      .toSorted((a, b) => b.name.length - a.name.length)
      .at(0)
    if (command === undefined) t.fail(`no command: godwit ${typed}`)
    const flags = [
      ...(command?.options ?? []),
      ...GLOBAL_OPTIONS,
      ...(command?.lists === true ? LIST_OPTIONS : []),
    ]
    const known = flags.flatMap((row) => row.flags.match(/--?[a-z-]+/g) ?? [])
    for (const flag of typed.match(/(?<= )--?[a-z][a-z-]*/g) ?? [])
      t.true(known.includes(flag), `godwit ${typed}: ${flag}`)
    count++
  }
  t.true(count > 15)
})
