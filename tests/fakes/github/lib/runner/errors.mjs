/* How the services of the runner's side say no. The runner looks at `source` before it believes the rest. */

export const brokerError = (status, errorKind, errorMessage) => ({
  status, body: { source: 'actions-broker-listener', errorKind, statusCode: status, errorMessage },
});

export const runError = (status, errorMessage) => ({ status, body: { source: 'actions-run-service', statusCode: status, errorMessage } });

export const vssError = (status, typeKey, message) => ({
  status, body: { $id: '1', innerException: null, message, typeName: `GitHub.DistributedTask.WebApi.${typeKey}`, typeKey, errorCode: 0, eventId: 3000 },
});

/** Runners differ in the case of their members. */
export const lowerKeys = (object) => Object.fromEntries(Object.entries(object ?? {}).map(([key, value]) => [key.toLowerCase(), value]));
