import { matchText } from '../../../common/match-text.js'
import { quoteWord } from '../../../common/process/shell-quote.js'
import { MIB } from '../../../common/units.js'
import { vmError } from '../../../errors.js'
import type { Check, CheckOutcome } from './check.js'
import { runProbe, runScript } from './guest-script.js'

/** Expected properties of a file. */
export interface FileExpectation {
  /**
   * Whole content, ignoring one trailing newline; or a pattern that it matches. Files above 1 MiB
   * are not read.
   */
  readonly content?: string | RegExp | undefined
  /** Permission bits, such as `0o644` or `'0644'`. */
  readonly mode?: number | string | undefined
  /** User or `user:group`, by name or id. */
  readonly owner?: string | number | undefined
  /** SHA-256 of the content, in hexadecimal. */
  readonly sha256?: string | undefined
}

const MAX_BYTES = MIB
const SHOWN_CHARS = 400
const SHOWN_NAMES = 20

/** Observed properties of a file. */
export interface FileFacts {
  readonly mode: string
  readonly user: string
  readonly group: string
  readonly uid: string
  readonly gid: string
  readonly bytes: number
  readonly content?: string
  readonly sha256?: string
}

/**
 * Met if the path exists (a file, a folder or any other entry) and has the expected properties.
 * @example checks.fileExists('/run/app.sock', { owner: 'app:app' })
 */
export function fileExists(path: string, expected: FileExpectation = {}): Check {
  requireAbsolutePath(path)
  const parts = describeParts(expected)
  const words = `the file ${path} to exist${parts.length > 0 ? ` with ${parts.join(', ')}` : ''}`
  const quoted = quoteWord(path)
  if (parts.length === 0) {
    const parent = quoteWord(parentOf(path))
    const others = `echo 'no such file; its folder contains' $(ls -A ${parent} | head -n ${SHOWN_NAMES})`
    const probe = {
      condition: `[ -e ${quoted} ] || [ -L ${quoted} ]`,
      report: `ls -ld ${quoted} 2>/dev/null || if [ -d ${parent} ]; then ${others}; else echo 'no such folder'; fi`,
    }
    return { expected: words, run: (vm, signal, longPoll) => runProbe(vm, probe, signal, longPoll) }
  }
  const script = [
    `[ -e ${quoted} ] || { echo 'no such file'; exit 0; }`,
    `stat -L -c '%a %U %G %u %g %s' ${quoted} || exit 1`,
    expected.sha256 === undefined ? 'echo' : `sha256sum <${quoted} || exit 1`,
    expected.content === undefined ? '' : `head -c ${MAX_BYTES + 1} ${quoted}`,
  ].join('\n')
  return {
    expected: words,
    run: async (vm, signal) => {
      const { stdout, stderr, exitCode } = await runScript(vm, script, signal)
      if (exitCode !== 0 || stderr !== '')
        return { isMet: false, received: stderr || `exit code ${exitCode}` }
      const facts = parseFileFacts(stdout)
      return facts === undefined ? { isMet: false, received: 'no such file' } : compareFile(facts, expected)
    },
  }
}

/** Parses the script's output: a line of `stat`, a line of `sha256sum`, the content. */
export function parseFileFacts(text: string): FileFacts | undefined {
  const match = /^(\d+) (\S+) (\S+) (\d+) (\d+) (\d+)\n?([0-9a-f]*)[^\n]*\n?/.exec(text)
  if (match === null) return undefined
  const [whole, mode = '', user = '', group = '', uid = '', gid = '', bytes = '', sha256 = ''] = match
  return { mode, user, group, uid, gid, bytes: Number(bytes), sha256, content: text.slice(whole.length) }
}

export function compareFile(facts: FileFacts, expected: FileExpectation): CheckOutcome {
  const found: string[] = []
  let isMet = true
  const compare = (isEqual: boolean, received: string) => {
    isMet &&= isEqual
    found.push(received)
  }
  const { mode, owner, sha256, content } = expected
  if (mode !== undefined) compare(facts.mode === writeMode(mode), `mode ${facts.mode}`)
  if (owner !== undefined) compare(isOwner(facts, String(owner)), `owner ${facts.user}:${facts.group}`)
  if (sha256 !== undefined) compare(facts.sha256 === sha256.toLowerCase(), `sha256 ${facts.sha256}`)
  if (content !== undefined) {
    const text = facts.content ?? ''
    const isWhole = facts.bytes <= MAX_BYTES
    const received = isWhole ? `content ${quoteText(text)}` : `${facts.bytes} bytes, too large to read`
    compare(isWhole && hasContent(text, content), received)
  }
  return { isMet, received: found.join(', ') }
}

function hasContent(text: string, expected: string | RegExp): boolean {
  if (typeof expected === 'string') return text.replace(/\n$/, '') === expected.replace(/\n$/, '')
  return matchText(text, expected)
}

function isOwner({ user, group, uid, gid }: FileFacts, expected: string): boolean {
  const [expectedUser, expectedGroup] = expected.split(':')
  const isUser = expectedUser === '' || expectedUser === user || expectedUser === uid
  return isUser && (expectedGroup === undefined || expectedGroup === group || expectedGroup === gid)
}

function writeMode(mode: number | string): string {
  return typeof mode === 'number' ? mode.toString(8) : mode.replace(/^0o?(?=.)/, '')
}

function describeParts({ content, mode, owner, sha256 }: FileExpectation): string[] {
  const parts: string[] = []
  if (mode !== undefined) parts.push(`mode ${writeMode(mode)}`)
  if (owner !== undefined) parts.push(`owner ${owner}`)
  if (sha256 !== undefined) parts.push(`sha256 ${sha256.toLowerCase()}`)
  if (content !== undefined)
    parts.push(`content ${typeof content === 'string' ? quoteText(content) : String(content)}`)
  return parts
}

function quoteText(text: string): string {
  return text.length <= SHOWN_CHARS
    ? JSON.stringify(text)
    : `${JSON.stringify(text.slice(0, SHOWN_CHARS))}… (${text.length} characters)`
}

function parentOf(path: string): string {
  return path.replace(/\/+[^/]*\/*$/, '') || '/'
}

function requireAbsolutePath(path: unknown): void {
  if (typeof path === 'string' && path.startsWith('/') && !path.includes('\0')) return
  throw vmError('INVALID_OPTIONS', {
    summary: 'The path of a file check is invalid.',
    expected: 'an absolute path in the guest',
    got: JSON.stringify(path) ?? String(path),
    hint: 'Write the absolute path, such as `/etc/hostname`.',
  })
}
