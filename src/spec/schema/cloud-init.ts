import { z } from 'zod'
import { findUserDataProblem, findYamlProblem, isMapping } from '../cloud-init.js'
import { isText } from './rules.js'

const userData = z
  .custom<string>((value) => value === undefined || findUserDataProblem(value) === undefined, {
    error: ({ input }) =>
      `an object, YAML that starts with '#cloud-config', or text that starts with '#!' or another header of cloud-init; this is ${findUserDataProblem(input)}`,
  })
  .optional()

const yaml = (what: string) =>
  z
    .custom<string>((value) => value === undefined || isMapping(value) || isYaml(value), {
      error: ({ input }) => {
        const problem = typeof input === 'string' ? findYamlProblem(input) : undefined
        return `${what} as an object or YAML${problem === undefined ? '' : `; this is ${problem}`}`
      },
    })
    .optional()

const isYaml = (value: unknown) => isText(value) && findYamlProblem(value) === undefined

/** Schema of the option `cloudInit`. */
export const cloudInit = z.strictObject({
  userData,
  metaData: yaml('meta data'),
  networkConfig: yaml('a network configuration'),
})
