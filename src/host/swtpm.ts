import { findProgram } from '../common/find-program.js'
import { vmError } from '../errors.js'
import { installCommand, readDistribution } from './distribution.js'

/**
 * Finds the program that emulates TPMs.
 * @throws {InfrastructureError} TOOL_NOT_FOUND
 */
export async function findSwtpm(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const path = await findProgram('swtpm', env)
  if (path !== undefined) return path
  const { name, packageManager } = readDistribution()
  const command = installCommand(['swtpm'], packageManager)
  throw vmError('TOOL_NOT_FOUND', {
    summary: 'The program swtpm, which emulates a TPM, was not found.',
    expected: 'swtpm on PATH',
    hint: command === undefined ? `install it with the package manager of ${name}.` : `run \`${command}\`.`,
  })
}
