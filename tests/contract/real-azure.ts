const named = (variable: string): string | undefined => {
  const value = process.env[variable]
  return value === undefined || value === '' ? undefined : value
}

const openAIEndpoint = named('SLUICE_CONTRACT_OPENAI_ENDPOINT')
const openAIKey = named('SLUICE_CONTRACT_OPENAI_KEY')

/**
 * The real services that the contract suites are pointed at; where one is undefined its suites use the emulator. See
 * emulators/README.md for what each of them needs and leaves behind.
 */
export const realAzure = {
  /** Connection string of a Service Bus namespace, with Manage rights. */
  serviceBus: named('SLUICE_CONTRACT_SERVICE_BUS'),
  /** Connection string of an Event Hubs namespace, with Manage rights. */
  eventHubs: named('SLUICE_CONTRACT_EVENT_HUBS'),
  /** `AccountEndpoint=…;AccountKey=…` of a Cosmos DB account. */
  cosmos: named('SLUICE_CONTRACT_COSMOS'),
  /** Connection string of a SignalR Service in serverless mode. */
  signalR: named('SLUICE_CONTRACT_SIGNALR'),
  /** An Azure OpenAI resource, and the names of its deployments by what they are for. */
  openAI:
    openAIEndpoint === undefined || openAIKey === undefined
      ? undefined
      : {
          endpoint: openAIEndpoint,
          apiKey: openAIKey,
          deployments: {
            chat: named('SLUICE_CONTRACT_OPENAI_CHAT'),
            embedding: named('SLUICE_CONTRACT_OPENAI_EMBEDDING'),
            transcription: named('SLUICE_CONTRACT_OPENAI_TRANSCRIPTION'),
            speech: named('SLUICE_CONTRACT_OPENAI_SPEECH'),
            realtime: named('SLUICE_CONTRACT_OPENAI_REALTIME'),
            batch: named('SLUICE_CONTRACT_OPENAI_BATCH'),
          },
        },
} as const
