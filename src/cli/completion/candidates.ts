import type { Argument, Command, Option } from 'commander'
import { toSafeLine } from '../../errors/safe-text.js'
import { type Candidate, FILES, readSource, sourceOf } from './sources.js'

/** State of the words before the cursor. */
interface Position {
  readonly command: Command
  /** Operands of the command so far. */
  readonly operands: readonly string[]
  /** Option whose value is next. */
  readonly option: Option | undefined
  /** If false, no more options of withvm follow. */
  readonly takesOptions: boolean
}

/** Prints the candidates for the last of the words, for the scripts of the shells. */
export async function printCandidates(program: Command, words: readonly string[]): Promise<void> {
  const lines = await listCandidates(program, words)
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}

/** Returns the lines of {@link printCandidates}. */
export async function listCandidates(program: Command, words: readonly string[]): Promise<string[]> {
  const current = words.at(-1) ?? ''
  const { candidates, files } = await findCandidates(locate(program, words.slice(0, -1)), current)
  const matching = candidates.filter(({ value }) => value.startsWith(current))
  return [
    ...matching.map(({ value, text }) => `${toSafeLine(value)}\t${toSafeLine(text)}`),
    ...(matching.length > 0 && matching.every(({ value }) => value.endsWith(':')) ? [':nospace'] : []),
    ...(files ? [':files'] : []),
  ]
}

async function findCandidates(
  { command, operands, option, takesOptions }: Position,
  current: string,
): Promise<{ readonly candidates: readonly Candidate[]; readonly files: boolean }> {
  const assigned = takesOptions ? /^(--[^=]+)=/.exec(current)?.[1] : undefined
  const assignedTo = assigned === undefined ? undefined : findOption(command, assigned)
  if (option !== undefined) return readValues(command, option)
  if (assignedTo !== undefined) {
    const { candidates } = await readValues(command, assignedTo)
    const values = candidates.map(({ value, text }) => ({ value: `${assigned}=${value}`, text }))
    return { candidates: values, files: false }
  }
  if (takesOptions && current.startsWith('-')) return { candidates: listFlags(command), files: false }
  if (command.commands.length > 0 && operands.length === 0) {
    return { candidates: listCommands(command), files: false }
  }
  const expected = command.registeredArguments
  const last = expected.at(-1)
  const argument = expected[operands.length] ?? (last?.variadic ? last : undefined)
  return argument === undefined ? { candidates: [], files: false } : readValues(command, argument, operands)
}

/** Follows the words before the cursor through the tree of commands. */
function locate(program: Command, words: readonly string[]): Position {
  let command = program
  let operands: string[] = []
  let option: Option | undefined
  let takesOptions = true
  for (const word of words) {
    if (option !== undefined) {
      option = undefined
    } else if (takesOptions && word === '--') {
      takesOptions = false
    } else if (takesOptions && word.startsWith('-') && word !== '-') {
      const found = findOption(command, word)
      if (found?.required) option = found
    } else {
      const sub = operands.length === 0 && command.commands.find((one) => one.name() === word)
      if (sub) {
        command = sub
        operands = []
      } else {
        operands.push(word)
        if (passesThrough(command)) takesOptions = false
      }
    }
  }
  return { command, operands, option, takesOptions }
}

/** Returns true if the words after the first operand belong to a command in a guest. */
function passesThrough(command: Command): boolean {
  return command.registeredArguments.some((argument) => argument.name() === 'command')
}

function findOption(command: Command, word: string): Option | undefined {
  return command.options.find(({ short, long }) => word === short || word === long)
}

function listFlags(command: Command): Candidate[] {
  const options = command.createHelp().visibleOptions(command)
  return options.map(({ long, short, description }) => ({ value: long ?? short ?? '', text: description }))
}

function listCommands(command: Command): Candidate[] {
  const commands = command.createHelp().visibleCommands(command)
  return commands.map((sub) => ({ value: sub.name(), text: sub.description() }))
}

async function readValues(
  command: Command,
  of: Argument | Option,
  given: readonly string[] = [],
): Promise<{ readonly candidates: readonly Candidate[]; readonly files: boolean }> {
  if (of.argChoices !== undefined) {
    return { candidates: of.argChoices.map((value) => ({ value, text: '' })), files: false }
  }
  const sources = sourceOf(command, of)
  const lists = await Promise.all(sources.filter((source) => source !== FILES).map(readSource))
  const candidates = lists.flat().filter(({ value }) => !given.includes(value))
  return { candidates, files: sources.includes(FILES) }
}
