/* The calls of the service: where they go (places.mjs), their quotas. The rest is as in all of AWS: ../../lib/aws_service.mjs. */
import { AwsError } from '../../lib/aws_errors.mjs';
import { AwsService } from '../../lib/aws_service.mjs';
import { BadRequest, parseJson } from '../../lib/http.mjs';
import { connectorsOf } from './api.mjs';

export class Service extends AwsService {
  constructor({ places, ...parts }) {
    super(parts);
    Object.assign(this, { places, protocol: 'rest' });
    this.counts.quota_refused = 0;
  }

  find(call) {
    call.place = this.places.of(call.request.headers);
    if (call.place?.name) call.noted = { target: call.place.name };
    const { route, params } = (call.place ?? this.places.first).router.find(call.request.method, call.url.pathname);
    return route && {
      operation: route.operation, protocol: 'rest', needs: () => this.needed(call, route.operation, params), perform: () => this.perform(call, route, params),
    };
  }

  /**
   * A launch also passes its network connectors, the service's own where it names none, and its role; an image its build's role and
   * connectors. A VM has no ARN: what is done
   * with it is allowed on its image, and a list, which has no resource, on "*" alone (AWS's service authorization reference for Lambda).
   */
  needed(call, operation, params) {
    const { config, fleet } = call.place ?? this.places.first;
    const image = (name) => (name.startsWith('arn:') ? name : this.arn('lambda', `microvm-image:${name}`, config));
    if (operation === 'RunMicrovm') {
      const body = readJson(call.raw);
      const { imageIdentifier, executionRoleArn: role } = body;
      const named = [...(body.ingressNetworkConnectors ?? []), ...(body.egressNetworkConnectors ?? [])];
      const { ingress, egress } = connectorsOf(body, config);
      return [
        { action: 'lambda:RunMicrovm', resource: image(String(imageIdentifier)) },
        ...[...new Set([...named, ...ingress, ...egress])].map((resource) => ({ action: 'lambda:PassNetworkConnector', resource })),
        ...(role ? [{ action: 'iam:PassRole', resource: role }] : []),
      ];
    }
    const action = `lambda:${operation}`;
    if (operation === 'CreateMicrovmImage' || operation === 'UpdateMicrovmImage') {
      const { name = params.arn, buildRoleArn, egressNetworkConnectors: connectors = [] } = readJson(call.raw);
      return [
        { action, resource: image(String(name)) }, ...connectors.map((resource) => ({ action: 'lambda:PassNetworkConnector', resource })),
        { action: 'iam:PassRole', resource: String(buildRoleArn), context: { 'iam:PassedToService': 'lambda.amazonaws.com' } },
      ];
    }
    if (operation === 'ListManagedMicrovmImageVersions') return [{ action, resource: '*' }];
    if (operation === 'ListMicrovms') return [{ action, resource: '*', context: { 'aws:RequestedRegion': config.region } }];
    if (/Image/.test(operation)) return [{ action, resource: image(Object.values(params)[0] ?? '*') }];
    const vm = fleet.byId.get(params.id);
    return vm ? [{ action, resource: vm.image.arn }] : [];
  }

  perform(call, route, params) {
    if (!call.place) throw new AwsError('AccessDeniedException', null);
    call.place.quotas.charge(route.operation);
    const result = route.handle({ params, query: call.url.searchParams, body: readJson(call.raw) });
    if (result === null) return { status: 200, headers: {}, body: '' };
    return { status: route.status, headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(result) };
  }

  note(call, answer) {
    if (answer.status === 402) this.counts.quota_refused += 1;
    call.place?.note(call.operation, answer);
    super.note(call, answer);
  }
}

function readJson(raw) {
  try {
    return parseJson(raw);
  } catch (error) {
    if (!(error instanceof BadRequest)) throw error;
    throw new AwsError('ValidationException', `SerializationException: ${error.message}`);
  }
}
