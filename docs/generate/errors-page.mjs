import { code, madeFrom, table } from './markdown.mjs'

const KINDS = {
  usage: 'What you wrote cannot be meant. Change it; running again will not help.',
  infrastructure: 'This host cannot do it, or not now: a CI may run the job again elsewhere.',
  guest: 'The guest did not do what it should: most often the finding of a test.',
  command: 'A command in the guest failed. The error has `stdout`, `stderr`, `exitCode` and `signal`.',
}

export async function errorsPage({ load }) {
  const { ERROR_CODES, CommandError, vmError } = await load('src/errors.js')
  const { exitCodeOf } = await load('src/cli/exit-code.js')
  const sample = (errorCode, kind) => {
    const details = { summary: '', hint: '' }
    return kind === 'command'
      ? new CommandError(errorCode, { ...details, outcome: {} })
      : vmError(errorCode, details)
  }
  const rows = Object.entries(ERROR_CODES).map(([errorCode, { kind, meaning }]) => {
    const error = sample(errorCode, kind)
    return { kind, cells: [code(errorCode), kind, code(error.name), meaning, String(exitCodeOf(error))] }
  })
  const parts = [
    madeFrom('src/errors.ts', 'src/cli/exit-code.ts'),
    '# Errors',
    "Every error that withvm throws is a `VMError` with a `code` that stays the same between versions, a `kind`, a `hint` (what to do about it) and `evidence` (a list of `{ label, text }`: the guest's stage, the last lines of its serial console, QEMU's own words, a command that boots the same machine by hand). The message has all of that in it. Text of messages may change, codes do not.",
    'The class says whose fault it is, so that a CI can treat a broken host otherwise than a failed test:',
    ...Object.entries(KINDS).map(([kind, text]) => {
      const [errorCode] = Object.entries(ERROR_CODES).find(([, row]) => row.kind === kind)
      return `- ${code(sample(errorCode, kind).name)}, kind ${code(kind)}: ${text}`
    }),
    'The last column is the exit code of `withvm`; `withvm run` ends with the exit code of the command in the guest instead, once that has run.',
    table(
      ['Code', 'Kind', 'Class', 'Meaning', 'Exit code'],
      Object.keys(KINDS).flatMap((kind) => rows.filter((row) => row.kind === kind).map(({ cells }) => cells)),
    ),
  ]
  return `${parts.join('\n\n').replace(/(\n- .*)\n(?=\n- )/g, '$1')}\n`
}
