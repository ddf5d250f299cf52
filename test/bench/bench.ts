/** What a benchmark is, and how its figures are judged and printed. Names and form are fixed: readers compare runs. */
export type Row = {
  /** The setting. */
  readonly case: string
  readonly metric: string
  /** Null when it could not be had; `why` says why. */
  readonly value: number | null
  readonly unit: string
  readonly must?: number
  readonly aim?: number
  readonly better: 'lower' | 'higher'
  /** The value against `must`; true where nothing must be. */
  readonly holds: boolean
  readonly why?: string
}

type Run = {
  readonly rows: Row[]
  /** What a reader has to know of this run: its setting, what was shrunk. */
  readonly note: string
  /** The run could not be made, or only what needs nothing of this machine: `note` says why. */
  readonly impossible?: true
}

export type Bench = (options: {
  readonly quick: boolean
  /** Only cases whose name begins so; benchmarks of one case take no notice. */
  readonly only?: string | undefined
  readonly say: (line: string) => void
}) => Promise<Run>

type Wanted = Omit<Row, 'holds' | 'value'> & { readonly value: number | null }

export function row(wanted: Wanted): Row {
  const { value, must, better } = wanted
  const missed = must !== undefined && (value === null || (better === 'lower' ? value > must : value < must))
  return { ...wanted, value: value === null ? null : rounded(value), holds: !missed }
}

/** Four digits are more than any of these runs can tell apart. */
const rounded = (value: number): number => Number(value.toPrecision(4))

export function table(rows: readonly Row[]): string {
  const lines = rows.map((each) => [
    each.case,
    each.metric,
    each.value === null ? `- (${each.why ?? 'unknown'})` : `${each.value} ${each.unit}`,
    each.must === undefined ? '' : `must ${each.must}`,
    each.aim === undefined ? '' : `aim ${each.aim}`,
    each.must === undefined ? '' : each.holds ? 'holds' : 'MISSED',
  ])
  const widths = [0, 1, 2, 3, 4, 5].map((column) =>
    Math.max(0, ...lines.map((line) => (line[column] ?? '').length)),
  )
  return lines
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}
