// Prints Vitest's counts as one plain line, and fails when no test of a guest ran.
import { readFileSync } from 'node:fs'

const results = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const tests = results.testResults.flatMap(({ name, assertionResults }) =>
  assertionResults.map(({ status }) => ({ status, isOfGuest: name.includes('/test/guest/') })),
)
const count = (isWanted) => tests.filter(isWanted).length
const passed = count(({ status }) => status === 'passed')
const failed = count(({ status }) => status === 'failed')
if (count(({ status, isOfGuest }) => isOfGuest && status === 'passed') === 0) {
  console.log('No test of a guest ran.')
  process.exitCode = 1
}
console.log(`${passed} passed, ${failed} failed, ${tests.length - passed - failed} skipped`)
