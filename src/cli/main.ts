#!/usr/bin/env node
import { CommanderError } from 'commander'
import { EXIT_CODES, exitCodeOf, formatError } from './exit-code.js'
import { buildProgram } from './program.js'
import { paintError } from './style.js'

async function main(): Promise<void> {
  const program = buildProgram()
  let isVerbose = false
  program.hook('preAction', (_, command) => {
    isVerbose = command.optsWithGlobals().verbose === true
  })
  try {
    await program.parseAsync()
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has already printed the message. Help and version exit with 0; other errors are
      // invalid usage.
      process.exitCode = error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage
      return
    }
    process.stderr.write(`${paintError(formatError(error, isVerbose))}\n`)
    process.exitCode = exitCodeOf(error)
  }
}

// `withvm doctor | head -1` closes the pipe early, which is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit()
})

await main()
