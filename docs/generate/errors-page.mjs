import { code, madeFrom, table } from './markdown.mjs'

const KINDS = {
  usage: 'Invalid usage: fix the test; retrying will not help.',
  infrastructure: 'A problem of the host, possibly temporary: retry the CI job on another host.',
  guest: 'The guest did not behave as expected, which is usually what a test detects.',
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
    'Every error that withvm throws is a `VMError` with a stable `code`, a `kind`, a `hint` (how to fix the problem) and `evidence`. The message contains all of these. The texts of messages may change, codes do not.',
    'The evidence is a list of `{ label, text }`:',
    "- the guest's stage",
    '- the last lines of its serial console',
    '- the output of QEMU',
    '- a command that boots the same guest manually',
    'The class identifies the cause, so that a CI job can distinguish a broken host from a failed test:',
    ...Object.entries(KINDS).map(([kind, text]) => {
      const [errorCode] = Object.entries(ERROR_CODES).find(([, row]) => row.kind === kind)
      return `- ${code(sample(errorCode, kind).name)}, kind ${code(kind)}: ${text}`
    }),
    'The last column is the exit code of `withvm`. `withvm run` exits with the exit code of the command in the guest if the command was run.',
    table(
      ['Code', 'Kind', 'Class', 'Meaning', 'Exit code'],
      Object.keys(KINDS).flatMap((kind) => rows.filter((row) => row.kind === kind).map(({ cells }) => cells)),
    ),
  ]
  return `${parts.join('\n\n').replace(/(\n- .*)\n(?=\n- )/g, '$1')}\n`
}
