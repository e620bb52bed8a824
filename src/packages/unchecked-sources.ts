import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseDeb822Sources, parseOneLineSources, selectDistributionSources } from './apt-sources.js'

/** Line of apt's sources that disables signature checks for packages of an image. */
export interface UncheckedSource {
  readonly file: string
  readonly line: number
  /** Option as written in the file, for example `trusted=yes`. */
  readonly option: string
}

/**
 * Options that make apt accept packages with missing, wrong or weak signatures (sources.list(5)).
 */
const OPTION =
  /\b(trusted|allow-insecure|allow-weak|allow-downgrade-to-insecure)\s*[=:]\s*(yes|true|with|on|enable|1)\b/i

/**
 * Returns the options that disable signature checks in the text of a file, for the sources of a
 * release. Pure.
 */
export function findUncheckedSources(file: string, text: string, codename: string): UncheckedSource[] {
  const isOneLine = file.endsWith('.list')
  const parse = isOneLine ? parseOneLineSources : parseDeb822Sources
  const isUsed = (part: string) => selectDistributionSources(parse(part), codename).length > 0
  const lines = text.split('\n')
  return lines.flatMap((line, index) => {
    const option = line.trimStart().startsWith('#') ? undefined : OPTION.exec(line)?.[0]
    if (option === undefined || !isUsed(isOneLine ? line : stanzaAround(lines, index))) return []
    return [{ file, line: index + 1, option }]
  })
}

/**
 * Returns the options that disable signature checks in the files that apt reads. Unreadable files
 * count as empty.
 */
export async function listUncheckedSources(aptDir: string, codename: string): Promise<UncheckedSource[]> {
  const found = await Promise.all(
    (await listSourceFiles(aptDir)).map(async (file) =>
      findUncheckedSources(file, await readFile(file, 'utf8').catch(() => ''), codename),
    ),
  )
  return found.flat()
}

/** Returns the source files of apt, in the order in which apt reads them. */
export async function listSourceFiles(aptDir: string): Promise<string[]> {
  const parts = join(aptDir, 'sources.list.d')
  const names = (await readdir(parts).catch(() => [])).filter((name) => /\.(list|sources)$/.test(name))
  return [join(aptDir, 'sources.list'), ...names.sort().map((name) => join(parts, name))]
}

export function describeUncheckedSource({ file, line, option }: UncheckedSource): string {
  return `${file}:${line} has '${option}'`
}

function stanzaAround(lines: readonly string[], index: number): string {
  const isEmpty = (line: string | undefined) => line === undefined || line.trim() === ''
  let [start, end] = [index, index]
  while (!isEmpty(lines[start - 1])) start--
  while (!isEmpty(lines[end + 1])) end++
  return lines.slice(start, end + 1).join('\n')
}
