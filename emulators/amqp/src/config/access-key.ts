import type { ConfigReader } from './config-reader.ts'

export type AccessRight = 'Manage' | 'Send' | 'Listen'

/** A shared access key. A configuration without any leaves the namespace open to every token. */
export type AccessKey = { keyName: string; keys: string[]; rights: Set<AccessRight> }

const allRights: AccessRight[] = ['Manage', 'Send', 'Listen']

/**
 * Reads `AuthorizationRules: [{ "KeyName", "PrimaryKey", "SecondaryKey"?, "Rights"? }]` of a namespace, named as in Azure
 * Resource Manager. Rights default to all; Manage includes the others.
 */
export const readAccessKeys = (namespace: ConfigReader): AccessKey[] =>
  namespace.list('AuthorizationRules').map((rule) => {
    const named = (rule.text('Rights') ?? allRights.join(',')).split(',').map((right) => right.trim())
    const rights = new Set(allRights.filter((right) => named.includes(right) || named.includes('Manage')))
    return {
      keyName: rule.name('KeyName'),
      keys: [rule.name('PrimaryKey'), ...(rule.text('SecondaryKey') ? [rule.name('SecondaryKey')] : [])],
      rights,
    }
  })
