"""What the stand-in for IBM Cloud refuses, as IBM's own clients see it: ADDRESS API-KEY."""

import sys

from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_platform_services import ResourceControllerV2, ResourceManagerV2

ADDRESS, API_KEY = sys.argv[1:]


def refusal(call, *arguments, **named):
    try:
        call(*arguments, **named)
    except ApiException as error:
        return error.status_code, error.message
    return None


def services(key):
    authenticator = IAMAuthenticator(key, url=ADDRESS)
    controller = ResourceControllerV2(authenticator=authenticator)
    manager = ResourceManagerV2(authenticator=authenticator)
    for service in (controller, manager):
        service.set_service_url(ADDRESS)
    return controller, manager


controller, manager = services("wrong")
assert refusal(controller.list_resource_instances) == (400, "Provided API key could not be found.")
controller, manager = services(API_KEY)
status, message = refusal(controller.get_resource_instance, "crn:v1:no::")
assert (status, message) == (404, "The resource was not found"), (status, message)
assert refusal(controller.create_resource_key, "key", "crn:v1:no::")[0] == 404
status, _ = refusal(
    controller.create_resource_instance, "blue", "bluemix-global", "no-group", "744bfc56-d12c-4866-88d5-dac9139e0e5d")
assert status == 404
assert refusal(manager.list_resource_groups, account_id="another")[0] == 403
assert refusal(manager.get_resource_group, "none")[0] == 404
print("done")
