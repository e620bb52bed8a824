import { randomBytes } from 'node:crypto'
import { onTestFinished } from 'vitest'

/** Lets this test have guests that no other shares a budget with. Gives the environment in which processes share it. */
export function ownPool(settings: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const env = { WITHVM_POOL: randomBytes(6).toString('hex'), ...settings }
  for (const [name, value] of Object.entries(env)) {
    const before = process.env[name]
    process.env[name] = value
    onTestFinished(() => {
      if (before === undefined) delete process.env[name]
      else process.env[name] = before
    })
  }
  return env
}
