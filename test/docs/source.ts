/** Reads what the sources say of themselves: comments, constants, and the rows of `tagged` shapes. */

export type Row = { readonly name: string; readonly doc: string; readonly fields: readonly string[] }
export type Constant = {
  readonly section: string
  readonly name: string
  readonly value: string
  readonly doc: string
}

/** The text of a comment without its signs, as one paragraph per blank line. */
function commentText(comment: string): string {
  return comment
    .replace(/^\s*\/\*\*?/, '')
    .replace(/\*\/\s*$/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, '').trimEnd())
    .join('\n')
    .trim()
}

/** What the comment at the top of a file says. */
export const headOf = (source: string): string => commentText(/^\/\*\*[\s\S]*?\*\//.exec(source)?.[0] ?? '')

/** The same for a page: drawings keep their form. */
export const prose = (text: string): string =>
  text
    .replaceAll(/(?:^.*[─▶◀│└├].*(?:\n|$))+/gm, (drawing) => `\n\`\`\`text\n${drawing.trimEnd()}\n\`\`\`\n\n`)
    .trim()

/** One line of it, for a table. */
export const inline = (text: string): string =>
  text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|')
    .trim()

/** The kinds of each `tagged({ … })`, with the comment before each and the names of its fields. */
export function taggedRows(source: string): Row[][] {
  return [...source.matchAll(/\btagged\(\{\n/g)].map(({ index, 0: opening }) => {
    const rows: Row[] = []
    for (const part of topLevel(source.slice(index + opening.length))) {
      const doc = /^\s*\/\*\*[\s\S]*?\*\//.exec(part)?.[0] ?? ''
      const [, name = '', shape = ''] = /^\s*'?([\w-]+)'?(?::([\s\S]*))?$/.exec(part.replace(doc, '')) ?? []
      if (name !== '') rows.push(row(name, commentText(doc), fieldsOf(named(source, shape), source)))
    }
    return rows
  })
}

/** The `codec('name', record({ … }))` of a file, also when the record has a name of its own. */
export function recordRows(source: string): Row[] {
  return [...source.matchAll(/\bcodec\(\s*'([^']+)',\s*(record\(\{|\w+)/g)].flatMap((match) => {
    const [, name = '', shape = ''] = match
    const at = shape.startsWith('record')
      ? match.index + match[0].length - shape.length
      : source.indexOf(`const ${shape} = record({`)
    return at < 0 ? [] : [row(name, '', fieldsOf(source.slice(at), source))]
  })
}

type Field = { readonly name: string; readonly doc: string }

/** What is said of a field stands behind what is said of the whole. */
function row(name: string, doc: string, fields: readonly Field[]): Row {
  const said = fields.filter((field) => field.doc !== '').map((field) => `\`${field.name}\`: ${field.doc}`)
  return {
    name,
    doc: [doc, ...said].filter((each) => each !== '').join(' '),
    fields: fields.map((each) => each.name),
  }
}

/** The text of a shape, from where it is made when it goes by a name. */
function named(source: string, shape: string): string {
  const name = shape.trim()
  const at = /^\w+$/.test(name) ? source.indexOf(`const ${name} = record({`) : -1
  return at < 0 ? shape : source.slice(at)
}

/** Names in a `record({ … })`, and what is said of each. */
function fieldsOf(shape: string, source: string): Field[] {
  const [, body] = /^[\s\S]*?\brecord\(\{([\s\S]*)/.exec(shape) ?? []
  return body === undefined ? [] : fieldsIn(body, source)
}

/** Spreads of what the file declares are written out, and so is a record that a field is named after. */
function fieldsIn(body: string, source: string): Field[] {
  return topLevel(body).flatMap((part) => {
    const comment = /^\s*\/\*\*[\s\S]*?\*\//.exec(part)?.[0] ?? ''
    const text = part.replace(comment, '').trim()
    const name = /^('?[\w-]+'?|\.\.\.\w+)/.exec(text)?.[1]?.replaceAll("'", '') ?? ''
    if (name === '') return []
    const spread = name.startsWith('...') ? `const ${name.slice(3)} = {` : undefined
    const at = spread === undefined ? -1 : source.indexOf(spread)
    if (spread !== undefined && at >= 0) return fieldsIn(source.slice(at + spread.length), source)
    const inner = text === name ? fieldsOf(named(source, name), source) : []
    const whole = inner.length === 0 ? name : `${name} {${inner.map((each) => each.name).join(', ')}}`
    return [{ name: whole, doc: commentText(comment) }]
  })
}

/** The parts between commas up to the bracket that closes what was opened before `text`. Comments may hold anything. */
function topLevel(text: string): string[] {
  const parts: string[] = []
  let depth = 0
  let part = ''
  for (const [token] of text.matchAll(/\/\*[\s\S]*?\*\/|\/\/.*|'[^'\n]*'|[\s\S]/g)) {
    if ('([{'.includes(token)) depth++
    if (')]}'.includes(token) && depth-- === 0) break
    if (token === ',' && depth === 0) {
      parts.push(part)
      part = ''
    } else part += token
  }
  return [...parts, part]
}

/** Exported constants with the comments before them, under the `// Section ---` lines. */
export function constantsOf(source: string): Constant[] {
  const found: Constant[] = []
  let section = ''
  const pattern =
    /^\/\/ (.+?) -{3,}$|(?:^(\/\*\*(?:(?!\*\/)[\s\S])*\*\/)\n)?^export const ([A-Z][A-Z0-9_]*)(?:: \w+)? = (.+)$/gm
  for (const [, title, comment, name, value] of source.matchAll(pattern)) {
    if (title !== undefined) section = title
    else if (name !== undefined)
      found.push({ section, name, value: value ?? '', doc: commentText(comment ?? '') })
  }
  return found
}
