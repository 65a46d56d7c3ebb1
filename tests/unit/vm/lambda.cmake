# The provider `lambda`, and ending a VM.
add_library(mayfly_test_lambda STATIC vm/lambda_class.c)
target_link_libraries(mayfly_test_lambda PUBLIC mayfly_vm)
mayfly_test(test_vm_lambda LABEL unit SOURCES vm/test_vm_lambda.c
            LIBS mayfly_test_lambda mayfly_test_http PkgConfig::JANSSON)
# fleet.c alone: what it calls is scripted in the test.
mayfly_test(test_fleet LABEL unit SOURCES vm/test_fleet.c ${PROJECT_SOURCE_DIR}/common/vm/fleet.c
            LIBS mayfly_base)

# Against the stand-in for the service, which needs Node.
find_program(NODE_PROGRAM NAMES node nodejs)
if(NODE_PROGRAM)
  add_executable(test_vm_lambda_fake vm/test_vm_lambda_fake.c)
  target_link_libraries(test_vm_lambda_fake PRIVATE mayfly_flags mayfly_test_lambda mayfly_http
                        PkgConfig::CMOCKA PkgConfig::JANSSON)
  add_test(NAME test_vm_lambda_fake
           COMMAND ${NODE_PROGRAM} ${PROJECT_SOURCE_DIR}/tests/fakes/with-fakes.mjs lambda-microvms
                   --run-rate 0 --terminate-rate 0 --get-rate 0 --list-rate 0 --keep-terminated-s 600
                   -- $<TARGET_FILE:test_vm_lambda_fake>)
  set_tests_properties(test_vm_lambda_fake PROPERTIES LABELS unit TIMEOUT 120)
endif()
